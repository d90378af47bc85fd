"""Gaussian kernel, exp(-||x - x'||² / 2σ²) (4-14)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.kernels.bandwidth import Unit, widths
from snnhll.kernels.distances import squared_distances
from snnhll.kernels.kernel import Kernel


@dataclass(frozen=True)
class Gaussian(Kernel):
    """exp(-||x - x'||² / 2σ²), σ = sigma in the unit that `bandwidth` names: 1, √D, or the batch's median distance.

    As printed: sigma 5, fixed. The width carries no gradient.
    """

    name: ClassVar[str] = "gaussian"
    sigma: Positive = 1.0
    bandwidth: Unit = "median"

    def __call__(self, x: Tensor) -> Tensor:
        squared = squared_distances(x)
        return torch.exp(-squared / (2 * self._variance(squared, x.shape[-1])))

    def variance(self, x: Tensor) -> Tensor:
        """σ² [..., 1, 1] of the batch x [..., B, D]."""
        return self._variance(squared_distances(x), x.shape[-1])

    def _variance(self, squared: Tensor, features: int) -> Tensor:
        return widths(self.bandwidth, self.sigma, squared.detach().sqrt(), math.sqrt(features)).square()
