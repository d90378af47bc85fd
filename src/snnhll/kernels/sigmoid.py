"""Sigmoid kernel, tanh(a x·x' + c) (4-16). It is not positive definite, so HSIC with it can be negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.kernels.kernel import Kernel


@dataclass(frozen=True)
class Sigmoid(Kernel):
    """tanh(a x·x' + c); a None stands for 1/D. Not a positive definite kernel."""

    name: ClassVar[str] = "sigmoid"
    a: Positive | None = None
    c: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        slope = 1 / x.shape[-1] if self.a is None else self.a
        return torch.tanh(slope * (x @ x.mT) + self.c)
