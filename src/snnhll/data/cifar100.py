"""CIFAR-100: 50,000 + 10,000 colour images of 32x32 in 100 fine classes (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

from snnhll.data.cifar import Layout, load_batches
from snnhll.data.imageset import ImageSet

LAYOUT = Layout(
    dataset="CIFAR100",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    labels="fine_labels",
    names="fine_label_names",
)


def load(root: Path, download: bool) -> ImageSet:
    """Return CIFAR-100 from root/cifar-100-python, torchvision's layout; see `load_batches` for errors."""
    return load_batches("cifar100", LAYOUT, root, download)
