"""Rate (Poisson) encoding (section 2.1.2): a pixel fires at every step with a probability proportional to its value."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Fraction
from snnhll.encodings.encoding import Encoding


class Poisson(Encoding):
    """Independent spikes with probability `rate` times the pixel, in [0, 1].

    Every evaluation has the same draw, and every image of it: how an image is coded does not depend on its batch.
    """

    random: ClassVar[bool] = True

    def __init__(self, rate: Fraction = 1.0) -> None:
        super().__init__()
        self.rate = rate

    def code(self, images: Tensor, steps: int) -> Tensor:
        shape = images.shape if self.training else (1, *images.shape[1:])
        draw = None if self.training else torch.Generator(images.device).manual_seed(0)
        drawn = torch.rand((steps, *shape), generator=draw, device=images.device, dtype=images.dtype)
        return (drawn < self.rate * images).to(images.dtype)

    def decode(self, coded: Tensor) -> Tensor:
        return coded.mean(0) / max(self.rate, 1e-9)
