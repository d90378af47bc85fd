"""No noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.data.noise.noise import Noise, Phase


@dataclass(frozen=True, kw_only=True)
class NoNoise(Noise):
    """Images as they are; acts in no phase."""

    name: ClassVar[str] = "none"

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images

    def acts_in(self, phase: Phase) -> bool:
        return False
