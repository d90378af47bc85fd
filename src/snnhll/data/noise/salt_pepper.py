"""Salt-and-pepper noise (table 4-5; section 5, point 22)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Fraction
from snnhll.data.noise.noise import Noise


@dataclass(frozen=True, kw_only=True)
class SaltPepper(Noise):
    """A share p of all values is replaced, half by 0 and half by 1, independent for every pixel and channel."""

    name: ClassVar[str] = "salt_pepper"
    p: Fraction = 0.2

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        return images.masked_fill(u < self.p / 2, 0.0).masked_fill(u >= 1 - self.p / 2, 1.0)
