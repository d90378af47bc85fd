"""Multiplicative Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import NonNegative
from snnhll.data.noise.noise import Noise, normal_like


@dataclass(frozen=True, kw_only=True)
class Speckle(Noise):
    """x + x·std·n, n standard normal, independent for every pixel and channel; black stays black."""

    name: ClassVar[str] = "speckle"
    std: NonNegative = 0.4

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images + images * (self.std * normal_like(images, generator))
