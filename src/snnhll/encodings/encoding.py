"""The interface of every code that turns an image into input over time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Encoding(nn.Module, ABC):
    """Turns images into a sequence. `normalised` says whether it wants zero-mean images or pixels in [0, 1]."""

    normalised: ClassVar[bool] = False

    @abstractmethod
    def forward(self, images: Tensor, steps: int) -> Tensor:
        """Return the input [S, B, C, H, W] of images [B, C, H, W]; S = steps, or 1 when the input is constant."""
