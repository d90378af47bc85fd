from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from snnhll.data.noise.blur import Blur
from snnhll.data.noise.contrast import Contrast
from snnhll.data.noise.gaussian import GaussianNoise
from snnhll.data.noise.noise import Noise
from snnhll.data.noise.none import NoNoise
from snnhll.data.noise.salt_pepper import SaltPepper
from snnhll.data.noise.speckle import Speckle

EVERY = [GaussianNoise, SaltPepper, Speckle, Blur, Contrast, NoNoise]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=draw(5))


@pytest.mark.parametrize("noise", EVERY)
@given(seed=st.integers(0, 2**31), side=st.integers(1, 9))
def test_stays_in_range_repeats_and_leaves_its_input(noise: type[Noise], seed: int, side: int) -> None:
    images = random_images(3, 2, side, side)
    before = images.clone()
    noisy = noise()(images, draw(seed))
    assert noisy.shape == images.shape
    assert bool(((noisy >= 0) & (noisy <= 1)).all())
    assert torch.equal(noisy, noise()(images, draw(seed)))
    assert torch.equal(images, before)


@pytest.mark.parametrize("noise", [GaussianNoise, SaltPepper, Speckle])
def test_another_seed_is_other_noise(noise: type[Noise]) -> None:
    images = random_images(3, 2, 8, 8)
    assert not torch.equal(noise()(images, draw(0)), noise()(images, draw(1)))


@pytest.mark.parametrize("std", [0.1, 0.4])
def test_gaussian_noise_has_its_mean_deviation_and_shape(std: float) -> None:
    images = torch.full((50, 2, 40, 40), 0.5)
    added = (GaussianNoise(std=std, clip=False)(images, draw()) - images).double()
    n = added.numel()
    assert abs(added.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(added.std().item() / std - 1) < 5 / math.sqrt(2 * n)
    within_one = (added.abs() < std).double().mean().item()
    assert abs(within_one - math.erf(1 / math.sqrt(2))) < 5 * math.sqrt(0.25 / n)


@pytest.mark.parametrize("noise", [GaussianNoise(), Speckle(), Contrast(factor=3.0)])
def test_clipping_only_clips(noise: Noise) -> None:
    images = random_images(4, 1, 16, 16)
    unclipped = type(noise)(**{**vars(noise), "clip": False})(images, draw())
    assert bool((unclipped > 1).any() or (unclipped < 0).any())
    assert torch.equal(noise(images, draw()), unclipped.clamp(0, 1))


def test_speckle_is_proportional_to_the_pixel() -> None:
    dark, light = torch.full((20, 1, 50, 50), 0.2), torch.full((20, 1, 50, 50), 0.8)
    noise = Speckle(std=0.3, clip=False)
    torch.testing.assert_close(noise(light, draw()), 4 * noise(dark, draw()))
    assert (noise(light, draw()) / light).std().item() == pytest.approx(0.3, rel=0.02)
    black = torch.zeros(2, 1, 4, 4)
    assert torch.equal(noise(black, draw()), black)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.7, 1.0])
def test_salt_and_pepper_replace_half_of_p_each(p: float) -> None:
    images = torch.full((50, 2, 40, 40), 0.5)
    noisy = SaltPepper(p=p)(images, draw())
    n = images.numel()
    deviation = math.sqrt(p / 2 * (1 - p / 2) / n)
    for value in (0.0, 1.0):
        assert abs((noisy == value).double().mean().item() - p / 2) <= 5 * deviation
    assert bool(((noisy == 0) | (noisy == 1) | (noisy == 0.5)).all())


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5])
def test_blur_is_scipys_gaussian_filter(sigma: float) -> None:
    images = random_images(2, 3, 9, 7).double()
    expected = ndimage.gaussian_filter(
        images.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, *(math.ceil(3 * sigma),) * 2)
    )
    np.testing.assert_allclose(Blur(sigma=sigma)(images, draw()).numpy(), expected, rtol=1e-10)


def test_contrast_keeps_the_mean_of_each_image_and_scales_its_deviation() -> None:
    images = random_images(4, 3, 8, 8).double()
    flat, faint = images.flatten(1), Contrast(factor=0.3)(images, draw()).flatten(1)
    torch.testing.assert_close(faint.mean(1), flat.mean(1))
    torch.testing.assert_close(faint.std(1), 0.3 * flat.std(1))
    torch.testing.assert_close(Contrast(factor=1.0)(images, draw()), images)


def test_no_noise_is_no_noise() -> None:
    images = random_images(2, 1, 4, 4)
    assert torch.equal(NoNoise()(images, draw()), images)


@pytest.mark.parametrize(
    ("noise", "train", "test"),
    [
        (GaussianNoise(), False, True),
        (GaussianNoise(when="train"), True, False),
        (GaussianNoise(when="both"), True, True),
        (NoNoise(when="both"), False, False),
    ],
)
def test_acts_where_it_says(noise: Noise, train: bool, test: bool) -> None:
    assert (noise.acts_in("train"), noise.acts_in("test")) == (train, test)
