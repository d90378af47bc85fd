"""What a kernel is: a function of a batch that returns the matrix of all its pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Kernel(ABC):
    """k(x_i, x_j) for all pairs of a batch. Value and gradient are finite for silent and for duplicate samples too."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Kernel matrix [..., B, B] of the features x [..., B, D] (float32 or float64)."""
