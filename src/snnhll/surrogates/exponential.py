"""Two-sided exponential, α exp(-α|x|) (2-17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Exponential(Surrogate):
    """α exp(-α|x|); peak α at the threshold. The default of the local rules."""

    name: ClassVar[str] = "exponential"
    alpha: Positive = 1.0

    @property
    def parameter(self) -> float:
        return self.alpha

    def derivative(self, x: Tensor) -> Tensor:
        return self.alpha * torch.exp(-self.alpha * x.abs())
