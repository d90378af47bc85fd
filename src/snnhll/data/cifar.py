"""The pickled batches of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), as torchvision unpacks them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnhll.data.download import fetch, from_torchvision
from snnhll.data.imageset import ImageSet
from snnhll.errors import UserError

# All that a pickled array is made of; anything else in a data file is not data.
ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class Layout:
    """Where the parts of a set lie: folder, files, and the keys of labels and class names in them."""

    dataset: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str


def load_batches(name: str, layout: Layout, root: Path, download: bool) -> ImageSet:
    """Return the set in root/layout.folder, downloading it when files are missing.

    Raises UserError for a set that is missing and cannot be downloaded, and for a truncated or damaged file.
    """
    folder = root / layout.folder
    if not all((folder / file).is_file() for file in (*layout.train, layout.test, layout.meta)):
        fetch(name, partial(from_torchvision, layout.dataset, root), root, folder, download)
    batches = [_read_batch(folder / file, layout.labels, name) for file in layout.train]
    test_images, test_labels = _read_batch(folder / layout.test, layout.labels, name)
    return ImageSet(
        name,
        torch.cat([images for images, _ in batches]),
        torch.cat([labels for _, labels in batches]),
        test_images,
        test_labels,
        _read_names(folder / layout.meta, layout.names, name),
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays, lists and text, and runs no code from the file."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return super().find_class(module, name)


def _read_batch(path: Path, labels: str, name: str) -> tuple[Tensor, Tensor]:
    """Return images uint8 [N, 3, 32, 32] and labels int64 [N]."""
    try:
        batch = _unpickle(path)
        return torch.from_numpy(np.reshape(batch["data"], (-1, 3, 32, 32))), torch.tensor(batch[labels])
    except _DAMAGE as error:
        raise _damaged(path, name) from error


def _read_names(path: Path, key: str, name: str) -> tuple[str, ...]:
    try:
        return tuple(_unpickle(path)[key])
    except _DAMAGE as error:
        raise _damaged(path, name) from error


def _unpickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()  # written by Python 2


_DAMAGE = (pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError)


def _damaged(path: Path, name: str) -> UserError:
    return UserError(
        f"data={name}: {path} is truncated or damaged; delete it and run `snnhll data {name}` to fetch it again."
    )
