"""Stepwise decay: the learning rate is multiplied by a factor at fixed shares of the training (table 3-1)."""

from __future__ import annotations

from snnhll.build import Fraction


class Step:
    """milestones: shares of all epochs. decay: factor applied at each."""

    def __init__(self, milestones: tuple[Fraction, ...] = (0.5, 0.75, 0.875, 0.9375), decay: Fraction = 0.25) -> None:
        self.milestones, self.decay = milestones, decay

    def factor(self, epoch: int, epochs: int) -> float:
        return self.decay ** sum(epoch >= share * epochs for share in self.milestones)
