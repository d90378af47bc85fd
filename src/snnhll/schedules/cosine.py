"""Cosine annealing (Loshchilov & Hutter 2017), with an optional linear warm-up."""

from __future__ import annotations

import math

from snnhll.build import Fraction, NonNegativeInt
from snnhll.errors import UserError


class Cosine:
    """warmup: epochs of linear rise. floor: factor at the end of training. Raises UserError where warm-up is all there
    is."""

    def __init__(self, warmup: NonNegativeInt = 0, floor: Fraction = 0.0) -> None:
        self.warmup, self.floor = warmup, floor

    def factor(self, epoch: int, epochs: int) -> float:
        if self.warmup >= epochs:
            raise UserError(
                f"schedule.warmup: {self.warmup} epochs of {epochs} in all, so that the learning rate would never be "
                f"reached; expected less than trainer.epochs."
            )
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        progress = (epoch - self.warmup) / max(epochs - self.warmup, 1)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2
