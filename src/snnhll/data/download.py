"""Fetching a set that is not on disk, through torchvision or tonic, which know the mirrors and check their hashes."""

from __future__ import annotations

import contextlib
import fcntl
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


def is_whole(folder: Path) -> bool:
    """Return whether a folder that `from_tonic` unpacks is there, and not left half unpacked."""
    return folder.is_dir() and not _begun(folder).exists()


def from_tonic(dataset: str, root: Path, train: bool, folder: Path) -> None:
    """Download a part of the set that the class `dataset` of tonic.datasets keeps in `root` and unpacks into `folder`.

    While that lasts a file beside the folder says so: tonic itself takes what it unpacked by half for all of it.
    """
    try:
        from tonic import datasets
    except ImportError as error:
        raise NotInstalledError(f"{dataset}: tonic fetches it; pip install 'snnhll[events]'.") from error
    anew = type(dataset, (getattr(datasets, dataset),), {"_check_exists": lambda _: False})
    begun = _begun(folder)
    begun.parent.mkdir(parents=True, exist_ok=True)
    with begun.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # another process may be at it
        if is_whole(folder):
            return
        try:
            anew(str(root), train=train)
        except BaseException:
            if not folder.exists():
                begun.unlink(missing_ok=True)
            raise
        begun.unlink(missing_ok=True)


def _begun(folder: Path) -> Path:
    """Return the file that is there while a folder is unpacked, and stays where that was interrupted."""
    return folder.with_name(f".{folder.name}-unpacking")


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Give the sockets opened meanwhile a timeout; the libraries set none and would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
