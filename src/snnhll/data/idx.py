"""MNIST's IDX files: two zero bytes, type code 8 (unsigned byte), number of axes, big-endian int32 lengths, data.

Read directly instead of through torchvision, whose import takes longer than the reading.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnhll.data.download import fetch, from_torchvision
from snnhll.data.imageset import ImageSet
from snnhll.errors import UserError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load_idx_set(name: str, dataset: str, root: Path, classes: tuple[str, ...], download: bool) -> ImageSet:
    """Return the set that torchvision's class `dataset` keeps in root/dataset/raw, downloaded when files are missing.

    Raises UserError for a set that is missing and cannot be downloaded, and for a truncated or damaged file.
    """
    folder = root / dataset / "raw"
    if not all((folder / file).is_file() for file in FILES):
        fetch(name, partial(from_torchvision, dataset, root), root, folder, download)
    train_images, train_labels, test_images, test_labels = (read_idx(folder / file, name) for file in FILES)
    return ImageSet(
        name, train_images.unsqueeze(1), train_labels.long(), test_images.unsqueeze(1), test_labels.long(), classes
    )


def read_idx(path: Path, name: str) -> Tensor:
    """Return the uint8 array of the IDX file at `path`. Raises UserError when the file is not what its header says."""
    content = np.fromfile(path, dtype=np.uint8)
    axes = int(content[3]) if len(content) > 3 and content[:3].tolist() == [0, 0, 8] else 0
    start = 4 + 4 * axes
    shape = [int.from_bytes(content[at : at + 4].tobytes(), "big") for at in range(4, start, 4)]
    if not shape or content.size - start != np.prod(shape):
        raise UserError(
            f"data={name}: {path} is truncated or not an IDX file; "
            f"delete it and run `snnhll data {name}` to fetch it again."
        )
    return torch.from_numpy(content[start:].reshape(shape))
