"""Fetching a set that is not on disk, through torchvision, which knows the mirrors and checks their hashes."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

from snnhll.errors import UserError

TIMEOUT = 10.0  # seconds a silent server is waited for


def fetch(name: str, dataset: str, root: Path, folder: Path, download: bool) -> None:
    """Download torchvision's `dataset` (a class of torchvision.datasets) into `root`, so that `folder` holds its files.

    Raises UserError, naming the set and the folder, when `download` is false or the download fails.
    """
    remedy = f"Point data.root at the folder that contains {folder.relative_to(root)}"
    if not download:
        raise UserError(f"data={name}: no complete set in {folder}. {remedy}, or set data.download=true.")
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        from torchvision import datasets  # slow to import, and needed only here

        with _timeout(TIMEOUT):
            getattr(datasets, dataset)(str(root), download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        for path in missing:  # leave no empty folders behind
            with contextlib.suppress(OSError):
                path.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(
            f"data={name}: no complete set in {folder}, and downloading failed ({reason}). "
            f"{remedy}, or run `snnhll data {name}` where there is a network."
        ) from error


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Give the sockets opened meanwhile a timeout; torchvision sets none and would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
