"""Laplacian kernel, exp(-||x - x'|| / σ) (4-15)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.kernels.bandwidth import Unit, widths
from snnhll.kernels.distances import Norm, distances
from snnhll.kernels.kernel import Kernel


@dataclass(frozen=True)
class Laplacian(Kernel):
    """exp(-||x - x'|| / σ); σ = sigma in the unit that `bandwidth` names: 1, √D (D for l1), or the median distance.

    norm: l2 as in the equation, l1 as in the text below it. As printed: sigma 5, fixed. The width carries no gradient.
    """

    name: ClassVar[str] = "laplacian"
    sigma: Positive = 1.0
    bandwidth: Unit = "median"
    norm: Norm = "l2"

    def __call__(self, x: Tensor) -> Tensor:
        features = x.shape[-1]
        apart = distances(x, self.norm)
        length = features if self.norm == "l1" else math.sqrt(features)
        return torch.exp(-apart / widths(self.bandwidth, self.sigma, apart, length))
