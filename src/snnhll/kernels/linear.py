"""Linear kernel, x·x' (4-12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from snnhll.kernels.kernel import Kernel


@dataclass(frozen=True)
class Linear(Kernel):
    """x·x'; grows with the number of features and with their rates."""

    name: ClassVar[str] = "linear"

    def __call__(self, x: Tensor) -> Tensor:
        return x @ x.mT
