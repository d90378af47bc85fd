"""Pixels 0..255 to [0, 1], and their mean and standard deviation per channel, by which a network normalises them."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; same shape."""
    return images.float().mul_(1 / (LEVELS - 1))


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std per channel, float64 [C], of uint8 images [N, C, H, W] in units of the full range.

    Exact, from the histogram of levels. A channel of one level only gets std 1, so that it normalises to zero, not NaN.
    """
    histogram = torch.stack([torch.bincount(c.flatten(), minlength=LEVELS) for c in images.unbind(1)]).double()
    share = histogram / histogram.sum(1, keepdim=True)
    unit = torch.arange(LEVELS, dtype=torch.float64, device=images.device) / (LEVELS - 1)
    mean = share @ unit
    std = (share * (unit - mean.unsqueeze(1)) ** 2).sum(1).sqrt()
    constant = (histogram > 0).sum(1) == 1
    return mean, std.masked_fill(constant, 1.0)
