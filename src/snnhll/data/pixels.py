"""Pixels 0..255 to [0, 1], and their mean and standard deviation per channel, by which a network normalises them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

LEVELS = 256


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; same shape."""
    return images.float().mul_(1 / (LEVELS - 1))


def channel_statistics(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and std per channel, float64 [C], of batches of uint8 images [B, C, H, W] in units of the full range.

    Exact, from the histogram of levels. A channel of one level only gets std 1, so that it normalises to zero, not NaN.
    """
    histogram = sum(_histogram(images) for images in batches)
    assert isinstance(histogram, Tensor)
    share = histogram / histogram.sum(1, keepdim=True)
    unit = torch.arange(LEVELS, dtype=torch.float64, device=histogram.device) / (LEVELS - 1)
    mean = share @ unit
    std = (share * (unit - mean.unsqueeze(1)) ** 2).sum(1).sqrt()
    constant = (histogram > 0).sum(1) == 1
    return mean, std.masked_fill(constant, 1.0)


def _histogram(images: Tensor) -> Tensor:
    """Return how often each channel has each level, float64 [C, 256]."""
    return torch.stack([torch.bincount(c.flatten(), minlength=LEVELS) for c in images.unbind(1)]).double()
