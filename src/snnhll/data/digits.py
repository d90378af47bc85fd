"""The 1797 handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download."""

from __future__ import annotations

import torch

from snnhll.data.imageset import ImageSet
from snnhll.data.stratify import stratified_split

TEST_FRACTION = 0.2
SPLIT_SEED = 0  # the set has no test part of its own; this one is the same in every run


def load() -> ImageSet:
    """Return 1 x 8 x 8 images, their levels 0..16 spread over 0..255, with a fixed stratified fifth as the test set."""
    from sklearn.datasets import load_digits  # a second to import, and no other set needs it

    digits = load_digits()
    images = torch.from_numpy(digits.images * 255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    train, test = stratified_split(labels, TEST_FRACTION, SPLIT_SEED)
    return ImageSet(
        "digits", images[train], labels[train], images[test], labels[test], tuple(str(digit) for digit in range(10))
    )
