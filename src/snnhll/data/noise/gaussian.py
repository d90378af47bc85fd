"""Additive Gaussian noise (table 4-5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import NonNegative
from snnhll.data.noise.noise import Noise, normal_like


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Noise):
    """x + std·n, n standard normal, independent for every pixel and channel. std in units of the full range."""

    name: ClassVar[str] = "gaussian"
    std: NonNegative = 0.4

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images + self.std * normal_like(images, generator)
