"""Projected gradient descent on the negative loss (Madry et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive, PositiveInt
from snnhll.data.noise.attack import Attack, Uphill


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """`steps` steps of x <- P(x + alpha·sign(dL/dx)), where P brings x back to at most epsilon from the image.

    alpha: None stands for 2.5 epsilon / steps, as in the paper. random_start: begin at a random point within reach.
    """

    name: ClassVar[str] = "pgd"
    alpha: Positive | None = None
    steps: PositiveInt = 10
    random_start: bool = True

    def attack(self, images: Tensor, uphill: Uphill, generator: torch.Generator) -> Tensor:
        stride = 2.5 * self.epsilon / self.steps if self.alpha is None else self.alpha
        x = self._start(images, generator) if self.random_start else images
        for _ in range(self.steps):
            x = self.within_reach(x + stride * uphill(x), images)
        return x

    def _start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        return self.within_reach(images + self.epsilon * (2 * u - 1), images)
