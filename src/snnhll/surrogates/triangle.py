"""Triangular window: peak at the threshold, linear to zero on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from snnhll.build import Positive
from snnhll.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Triangle(Surrogate):
    """max(0, 1 - |x|/w)/w; area 1."""

    name: ClassVar[str] = "triangle"
    width: Positive = 1.0

    @property
    def parameter(self) -> float:
        return self.width

    def derivative(self, x: Tensor) -> Tensor:
        return (1 - x.abs() / self.width).clamp(min=0) / self.width
