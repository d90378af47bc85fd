"""Cosine kernel, x·x' / (||x|| ||x'||) (4-13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.kernels.kernel import Kernel


@dataclass(frozen=True)
class Cosine(Kernel):
    """x·x' / (||x|| ||x'||); `centred` takes the mean over features away from each sample first.

    A sample shorter than eps (silent, or constant when centred) has no direction: its row and its gradient are zero.
    """

    name: ClassVar[str] = "cosine"
    centred: bool = False
    eps: Positive = 1e-5

    def __call__(self, x: Tensor) -> Tensor:
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        square = x.square().sum(-1, keepdim=True)
        directed = square > self.eps**2
        unit = x * directed / torch.where(directed, square, 1).sqrt()
        return unit @ unit.mT
