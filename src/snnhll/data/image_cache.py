"""Decoded pixels kept beside the image files they were made from, so that a folder is decoded once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

Images = dict[str, Tensor]


def cached(folder: Path, key: object, decode: Callable[[], Images]) -> Images:
    """Return what `decode` returned for this `key` before, or call it and keep the result in a file in `folder`.

    key: everything the images depend on, with a `repr` that is the same in every process. A damaged cache file is made
    anew; where `folder` cannot be written nothing is kept.
    """
    file = cache_file(folder, key)
    images = _read(file)
    if images is None:
        images = decode()
        _write(file, images)
    return images


def cache_file(folder: Path, key: object) -> Path:
    """Return the path of the cache of `key` in `folder`."""
    return folder / f".snnhll-cache-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.pt"


def _read(file: Path) -> Images | None:
    try:
        images = torch.load(file, weights_only=True)
    except Exception:  # what torch raises for a damaged file depends on where the damage is
        return None
    return images if isinstance(images, dict) else None


def _write(file: Path, images: Images) -> None:
    # Written aside and renamed: a reader, or a second job, never sees half a file.
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        torch.save(images, partial)
        partial.replace(file)
    except (OSError, RuntimeError):  # torch reports a folder it cannot write, or a full disk, as RuntimeError
        with contextlib.suppress(OSError):
            partial.unlink()
