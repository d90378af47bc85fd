"""Derivative of a scaled arctangent, (α/2) / (1 + (π α x / 2)²) (Fang et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Arctangent(Surrogate):
    """(α/2) / (1 + (π α x / 2)²); peak α/2 at the threshold."""

    name: ClassVar[str] = "arctangent"
    alpha: Positive = 2.0

    @property
    def parameter(self) -> float:
        return self.alpha

    def derivative(self, x: Tensor) -> Tensor:
        return (self.alpha / 2) / (1 + (torch.pi / 2 * self.alpha * x).square())
