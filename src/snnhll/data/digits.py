"""The 1797 handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download.

Its file is read without importing scikit-learn, which would take as long as everything else before the first step.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from snnhll.data.imageset import ImageSet
from snnhll.data.stratify import stratified_split

TEST_FRACTION = 0.2
SPLIT_SEED = 0  # the set has no test part of its own; this one is the same in every run
LEVELS, SIDE = 16, 8


def load() -> ImageSet:
    """Return 1 x 8 x 8 images, their levels 0..16 spread over 0..255, with a fixed stratified fifth as the test set."""
    table = torch.from_numpy(np.loadtxt(_file(), delimiter=","))
    images = (table[:, :-1] * 255 / LEVELS).round().to(torch.uint8).view(-1, 1, SIDE, SIDE)
    labels = table[:, -1].long()
    train, test = stratified_split(labels, TEST_FRACTION, SPLIT_SEED)
    return ImageSet(
        "digits", images[train], labels[train], images[test], labels[test], tuple(str(digit) for digit in range(10))
    )


def _file() -> Path:
    """The table of scikit-learn: one image a line, 64 levels and the digit."""
    package = find_spec("sklearn")
    assert package is not None, "scikit-learn is one of the requirements of this package"
    assert package.origin is not None, "scikit-learn is a package of files"
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
