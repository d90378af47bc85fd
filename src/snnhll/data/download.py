"""Fetching a set that is not on disk, through torchvision or tonic, which know the mirrors and check their hashes."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from snnhll.config import NotInstalledError
from snnhll.errors import UserError

TIMEOUT = 10.0  # seconds a silent server is waited for


def fetch(name: str, get: Callable[[], object], root: Path, folder: Path, download: bool) -> None:
    """Let `get` download a set into `root`, so that `folder` holds its files.

    Raises UserError, naming the set and the folder, when `download` is false or the download fails.
    """
    remedy = f"Point data.root at the folder that contains {folder.relative_to(root)}"
    if not download:
        raise UserError(f"data={name}: no complete set in {folder}. {remedy}, or set data.download=true.")
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _timeout(TIMEOUT):
            get()
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        for path in missing:  # leave no empty folders behind
            with contextlib.suppress(OSError):
                path.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(
            f"data={name}: no complete set in {folder}, and downloading failed ({reason}). "
            f"{remedy}, or run `snnhll data {name}` where there is a network."
        ) from error


def from_torchvision(dataset: str, root: Path) -> None:
    """Download the set that the class `dataset` of torchvision.datasets keeps in `root`."""
    from torchvision import datasets  # slow to import, and needed only here

    getattr(datasets, dataset)(str(root), download=True)


def from_tonic(dataset: str, root: Path, train: bool) -> None:
    """Download a part of the set that the class `dataset` of tonic.datasets keeps in `root`."""
    try:
        from tonic import datasets
    except ImportError as error:
        raise NotInstalledError(f"{dataset}: tonic fetches it; pip install 'snnhll[events]'.") from error
    getattr(datasets, dataset)(str(root), train=train)


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Give the sockets opened meanwhile a timeout; the libraries set none and would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
