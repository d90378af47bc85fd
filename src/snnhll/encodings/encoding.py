"""The interface of every code that turns an image into input over time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from snnhll.errors import UserError
from snnhll.networks.spec import Shape


class Encoding(nn.Module, ABC):
    """Turns images into a sequence.

    normalised: whether it wants zero-mean images or pixels in [0, 1]. random: whether it draws anew in training.
    """

    normalised: ClassVar[bool] = False
    random: ClassVar[bool] = False

    def forward(self, images: Tensor, steps: int) -> Tensor:
        """Return the input [S, B, C', H, W] of images [B, C, H, W]; S = steps, or 1 when the input is constant.

        Raises UserError for pixels outside [0, 1], unless the code takes normalised images.
        """
        if not self.normalised:
            check_pixels(images)
        return self.code(images, steps)

    @abstractmethod
    def code(self, images: Tensor, steps: int) -> Tensor:
        """Return the input [S, B, C', H, W] of images [B, C, H, W]; pixels are in [0, 1] unless `normalised`."""

    @abstractmethod
    def decode(self, coded: Tensor) -> Tensor:
        """Return the images [B, C, H, W] that can be read back from a sequence [S, B, C', H, W]."""

    def coded_shape(self, shape: Shape) -> Shape:
        """Return the shape (C', H, W) of a step of the sequence for images of shape (C, H, W)."""
        return shape


def check_pixels(images: Tensor) -> None:
    """Raise UserError unless every pixel is in [0, 1]."""
    low, high = (float(bound) for bound in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"encoding: pixels from {low:g} to {high:g}, but this code needs them in [0, 1]; "
            f"scale them, keep noise.clip=true, or use encoding=direct."
        )
