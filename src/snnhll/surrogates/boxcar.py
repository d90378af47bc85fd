"""Rectangular window, 1/(2γ) where |x| <= γ (2-20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from snnhll.build import Positive
from snnhll.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Boxcar(Surrogate):
    """1/(2γ) within γ of the threshold, else 0."""

    name: ClassVar[str] = "boxcar"
    gamma: Positive = 0.5

    @property
    def parameter(self) -> float:
        return self.gamma

    def derivative(self, x: Tensor) -> Tensor:
        return (x.abs() <= self.gamma).to(x.dtype) / (2 * self.gamma)
