"""CIFAR-10: 50,000 + 10,000 colour images of 32x32 in 10 classes (Krizhevsky 2009)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snnhll.data.cifar import Layout, load_batches
from snnhll.data.image_folder import load as load_folder
from snnhll.data.imageset import ImageSet

LAYOUT = Layout(
    dataset="CIFAR10",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    labels="labels",
    names="label_names",
)
JPEG_FOLDER = "cifar10-jpeg"


def load(root: Path, download: bool) -> ImageSet:
    """Return CIFAR-10 from root/cifar-10-batches-py, torchvision's layout; see `load_batches` for errors.

    Where only root/cifar10-jpeg/{train,test}/<class> exists, those are read, and `variant` says "CIFAR-10 (JPEG)":
    their pixels went through a lossy compression, so figures are close to, but not those of, the original.
    """
    if (root / JPEG_FOLDER).is_dir() and not (root / LAYOUT.folder).is_dir():
        return replace(load_folder(root / JPEG_FOLDER), name="cifar10", variant="CIFAR-10 (JPEG)")
    return load_batches("cifar10", LAYOUT, root, download)
