from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.data.pixels import channel_statistics, to_unit


@given(seed=st.integers(0, 2**31), count=st.integers(1, 9), channels=st.integers(1, 3), top=st.integers(2, 256))
def test_statistics_are_those_of_numpy(seed: int, count: int, channels: int, top: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, top, (count, channels, 5, 4), dtype=np.uint8)
    pixels[0, :, 0, :2] = 0, 1  # never constant
    mean, std = channel_statistics(torch.from_numpy(pixels).split(3))
    np.testing.assert_allclose(mean.numpy(), (pixels / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std.numpy(), (pixels / 255).std((0, 2, 3)), rtol=1e-10)


def test_a_constant_channel_has_unit_deviation() -> None:
    images = torch.full((4, 2, 3, 3), 77, dtype=torch.uint8)
    images[:, 1, 0] = 0
    mean, std = channel_statistics([images])
    assert std[0] == 1
    torch.testing.assert_close(mean[0], torch.tensor(77 / 255, dtype=torch.float64))
    assert 0 < std[1] < 1


def test_unit_pixels() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    expected = (images.double() / 255).float()
    torch.testing.assert_close(to_unit(images), expected, atol=0, rtol=2e-7)
    assert to_unit(images).max() <= 1
