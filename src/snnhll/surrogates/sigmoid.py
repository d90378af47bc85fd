"""Derivative of a steep sigmoid, β σ(βx)(1 - σ(βx)) (2-18, 2-19)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """β σ(βx)(1 - σ(βx)); peak β/4 at the threshold."""

    name: ClassVar[str] = "sigmoid"
    beta: Positive = 4.0

    @property
    def parameter(self) -> float:
        return self.beta

    def derivative(self, x: Tensor) -> Tensor:
        s = torch.sigmoid(self.beta * x)
        return self.beta * s * (1 - s)
