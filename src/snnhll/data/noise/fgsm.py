"""Fast gradient sign method (Goodfellow et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.data.noise.attack import Attack, Uphill


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """x + epsilon·sign(dL/dx): one step uphill."""

    name: ClassVar[str] = "fgsm"

    def attack(self, images: Tensor, uphill: Uphill, generator: torch.Generator) -> Tensor:
        return self.within_reach(images + self.epsilon * uphill(images), images)
