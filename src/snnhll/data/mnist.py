"""MNIST: 60,000 + 10,000 handwritten digits of 28x28 (LeCun et al. 1998)."""

from __future__ import annotations

from pathlib import Path

from snnhll.data.idx import load_idx_set
from snnhll.data.imageset import ImageSet

CLASSES = tuple(str(digit) for digit in range(10))


def load(root: Path, download: bool) -> ImageSet:
    """Return MNIST from root/MNIST/raw, torchvision's layout; see `load_idx_set` for errors."""
    return load_idx_set("mnist", "MNIST", root, CLASSES, download)
