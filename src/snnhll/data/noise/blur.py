"""Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from snnhll.build import Positive
from snnhll.data.noise.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Blur(Noise):
    """Convolution with a Gaussian of standard deviation sigma, in pixels, cut off at 3 sigma; borders are continued."""

    name: ClassVar[str] = "blur"
    sigma: Positive = 1.0

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        radius = math.ceil(3 * self.sigma)
        offset = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        weights = torch.softmax(-(offset**2) / (2 * self.sigma**2), 0)  # a Gaussian that sums to one
        channels = images.shape[1]
        rows = weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        # The Gaussian is a product of one over x and one over y, so two short convolutions do.
        padded = F.pad(images, (radius,) * 4, mode="replicate")
        return F.conv2d(F.conv2d(padded, rows, groups=channels), rows.transpose(2, 3), groups=channels)
