from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snnhll.data.augment import Augment, Draws

augments = st.builds(Augment, crop=st.integers(0, 4), flip=st.booleans(), cutout=st.integers(0, 9))
shapes = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(2, 7), st.integers(2, 7))


def batch(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def one_by_one(images: Tensor, augment: Augment, draws: Draws) -> Tensor:
    """The same with a loop over images and numpy's padding and slices."""
    height, width = images.shape[2:]
    varied = []
    for i, image in enumerate(images.numpy()):
        if augment.flip and draws.mirrored[i]:
            image = image[:, :, ::-1]
        top, left, pad = int(draws.dy[i]), int(draws.dx[i]), augment.crop
        image = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))[:, top : top + height, left : left + width].copy()
        if augment.cutout:
            y, x = int(draws.cy[i]) - augment.cutout // 2, int(draws.cx[i]) - augment.cutout // 2
            image[:, max(y, 0) : max(y + augment.cutout, 0), max(x, 0) : max(x + augment.cutout, 0)] = 0
        varied.append(image)
    return torch.from_numpy(np.stack(varied))


@given(augment=augments, shape=shapes, seed=st.integers(0, 2**31), dtype=st.sampled_from([torch.uint8, torch.float32]))
def test_equals_a_loop_over_images(augment: Augment, shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> None:
    images = batch(shape, dtype)
    draws = augment.draw(images, torch.Generator().manual_seed(seed))
    untouched = images.clone()
    assert torch.equal(augment.apply(images, draws), one_by_one(images, augment, draws))
    assert torch.equal(augment(images, torch.Generator().manual_seed(seed)), augment.apply(images, draws))
    assert torch.equal(images, untouched)


def test_the_middle_offset_is_no_shift() -> None:
    images = batch((3, 3, 8, 8), torch.uint8)
    middle, zero = torch.full((3,), 2), torch.zeros(3, dtype=torch.int64)
    assert torch.equal(Augment(crop=2).apply(images, Draws(middle, middle, zero, zero, zero)), images)


def test_channels_last_memory_changes_nothing() -> None:
    images, augment = batch((4, 3, 8, 8), torch.float32), Augment(crop=2, flip=True, cutout=3)
    draws = augment.draw(images, torch.Generator().manual_seed(0))
    rearranged = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment.apply(rearranged, draws), augment.apply(images, draws))


def test_every_shift_mirror_and_centre_occurs_about_equally_often() -> None:
    images = torch.zeros(20_000, 1, 6, 5, dtype=torch.uint8)
    draws = Augment(crop=2, flip=True, cutout=2).draw(images, torch.Generator().manual_seed(0))
    for values, ends in zip(draws, (5, 5, 2, 6, 5), strict=True):
        counts = torch.bincount(values, minlength=ends)
        assert len(counts) == ends
        # five standard deviations of a binomial count
        expected, deviation = 20_000 / ends, (20_000 / ends * (1 - 1 / ends)) ** 0.5
        assert bool(((counts - expected).abs() < 5 * deviation).all())


@pytest.mark.parametrize(
    ("augment", "active"),
    [(Augment(), False), (Augment(crop=1), True), (Augment(flip=True), True), (Augment(cutout=1), True)],
)
def test_active_says_whether_anything_happens(augment: Augment, active: bool) -> None:
    assert augment.active is active
