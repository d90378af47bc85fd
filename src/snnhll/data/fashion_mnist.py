"""Fashion-MNIST: 60,000 + 10,000 pictures of clothing of 28x28 (Xiao et al. 2017)."""

from __future__ import annotations

from pathlib import Path

from snnhll.data.idx import load_idx_set
from snnhll.data.imageset import ImageSet

CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def load(root: Path, download: bool) -> ImageSet:
    """Return Fashion-MNIST from root/FashionMNIST/raw, torchvision's layout; see `load_idx_set` for errors."""
    return load_idx_set("fashion_mnist", "FashionMNIST", root, CLASSES, download)
