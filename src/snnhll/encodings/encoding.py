"""The interface of every code that turns an image into input over time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnhll.errors import UserError
from snnhll.networks.spec import Shape


class Encoding(nn.Module, ABC):
    """Turns images into a sequence.

    normalised: whether it wants zero-mean images or pixels in [0, 1]. random: whether it draws anew in training.
    """

    normalised: ClassVar[bool] = False
    random: ClassVar[bool] = False
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        # the highest pixel and the lowest, negated, that an accelerator has seen since `check`
        self.register_buffer("seen", torch.zeros(2), persistent=False)

    def forward(self, images: Tensor, steps: int) -> Tensor:
        """Return the input [S, B, C', H, W] of images [B, C, H, W]; S = steps, or 1 when the input is constant.

        Raises UserError for pixels outside [0, 1], unless the code takes normalised images; on an accelerator `check`
        does, so that a training step does not wait for the device.
        """
        if self.normalised:
            return self.code(images, steps)
        images = images.detach()  # spikes have no derivative; that of rounding is 0, which an attack would believe
        if images.device.type == "cpu":
            check_pixels(images)
        else:
            self.note(images)
        return self.code(images, steps)

    @torch.no_grad()
    def note(self, images: Tensor) -> None:
        """Keep on the device between which bounds the pixels lie, for `check`."""
        low, high = images.aminmax()
        self.seen.copy_(torch.maximum(self.seen, torch.stack([high, -low])))

    def check(self) -> None:
        """Raise UserError if a pixel noted since the last call was outside [0, 1]. Waits for the device."""
        if not self.normalised:
            noted = self.seen.clone()
            self.seen.zero_()
            check_pixels(torch.stack([noted[0], 0 - noted[1]]))

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
