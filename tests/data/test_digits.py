from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from snnhll.data.digits import load


def test_every_digit_is_there_once_with_its_label_and_levels() -> None:
    images, bundled = load(), load_digits()
    pixels = torch.cat([images.train_images, images.test_images])
    labels = torch.cat([images.train_labels, images.test_labels])
    # 16 levels spread over 255 can be read back exactly
    levels = (pixels.double() * 16 / 255).round().long().flatten(1)
    ours = sorted(zip(labels.tolist(), levels.tolist(), strict=True))
    theirs = sorted(zip(bundled.target.tolist(), bundled.data.astype(int).tolist(), strict=True))
    assert ours == theirs
    assert int(pixels.max()) == 255


def test_a_fifth_of_each_digit_is_test_and_always_the_same() -> None:
    images, again = load(), load()
    train, test = images.train_labels.bincount(), images.test_labels.bincount()
    assert torch.equal(test, (0.2 * (train + test)).round().long())
    assert torch.equal(images.test_images, again.test_images)
