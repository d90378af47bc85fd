"""A set of images larger than memory, kept as root/train/<class>/ and root/test/<class>/, as ImageNet usually is.

Worker processes decode the images as they are needed; only names and labels are in memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from snnhll.build import NonNegativeInt, PositiveInt, Range
from snnhll.data.image_files import Crop, ImageFiles
from snnhll.data.image_folder import class_names, image_names
from snnhll.data.imageset import ImageSet


def load(
    folder: str | Path,
    size: PositiveInt = 224,
    channels: Literal[1, 3] = 3,
    share: Annotated[float, Range(0, 1, open_low=True)] = 0.08,
    workers: NonNegativeInt = 4,
) -> ImageSet:
    """Return the images of folder/train and folder/test, in their files: one folder a class, in alphabetical order.

    size, channels, share: see `Crop`. workers: processes that decode. Raises UserError for a missing or empty folder,
    one class only, and test classes that are not the training classes.
    """
    root = Path(folder).expanduser()
    classes = class_names("image_stream", root)
    crop = Crop(size, channels, share)
    train, train_labels = _listing(root / "train", classes)
    test, test_labels = _listing(root / "test", classes)
    return ImageSet(
        "image_stream",
        ImageFiles(root / "train", train, crop, workers),
        train_labels,
        ImageFiles(root / "test", test, crop, workers),
        test_labels,
        classes,
        root.name,
    )


def _listing(folder: Path, classes: tuple[str, ...]) -> tuple[np.ndarray, Tensor]:
    """Return the names of the images in `folder`, as bytes of one length, and their labels."""
    found = [
        np.array([os.fsencode(f"{class_}/{file}") for file in image_names("image_stream", folder / class_)])
        for class_ in classes
    ]
    counts = torch.tensor([len(names) for names in found])
    return np.concatenate(found), torch.arange(len(classes)).repeat_interleave(counts)
