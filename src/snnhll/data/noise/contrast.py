"""Loss of contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import NonNegative
from snnhll.data.noise.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Contrast(Noise):
    """mean + factor·(x - mean), mean of each image over pixels and channels; 1 changes nothing, 0 leaves plain grey."""

    name: ClassVar[str] = "contrast"
    factor: NonNegative = 0.3

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        mean = images.mean((1, 2, 3), keepdim=True)
        return mean + self.factor * (images - mean)
