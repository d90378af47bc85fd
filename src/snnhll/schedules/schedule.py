"""The interface of a learning-rate schedule."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    """Factor on the configured learning rate, constant within an epoch."""

    def factor(self, epoch: int, epochs: int) -> float:
        """Return the factor for `epoch` (0, 1, ...) of `epochs`."""
