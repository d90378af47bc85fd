"""Random crop, mirror and cutout of a whole batch at once, on the device the batch is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from snnhll.build import NonNegativeInt


class Draws(NamedTuple):
    """The random numbers of one batch, int64 [B] each.

    dy, dx: where the window starts in the padded image, 0..2·crop; crop is no shift. mirrored: 0 or 1. cy, cx: centre
    of the square cut out.
    """

    dy: Tensor
    dx: Tensor
    mirrored: Tensor
    cy: Tensor
    cx: Tensor


@dataclass(frozen=True)
class Augment:
    """Training images varied at random, each image of a batch on its own.

    crop: pixels of black added on every side before a window of the original size is cut out. flip: mirror left and
    right with probability 1/2. cutout: side of a black square at a random centre, clipped at the border (DeVries &
    Taylor 2017).
    """

    crop: NonNegativeInt = 0
    flip: bool = False
    cutout: NonNegativeInt = 0

    @property
    def active(self) -> bool:
        """Whether any of the three does anything."""
        return bool(self.crop or self.flip or self.cutout)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return images [B, C, H, W], of any dtype, varied by the numbers `generator` draws next."""
        return self.apply(images, self.draw(images, generator))

    def draw(self, images: Tensor, generator: torch.Generator) -> Draws:
        """Draw the numbers for a batch of this shape, always all five: no option shifts the draws of another."""
        batch, _, height, width = images.shape
        ends = (2 * self.crop + 1, 2 * self.crop + 1, 2, height, width)
        return Draws(*(torch.randint(end, (batch,), generator=generator, device=images.device) for end in ends))

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the images varied by given numbers."""
        if self.crop or self.flip:
            images = _windows(images, self.crop, draws.dy, draws.dx, draws.mirrored if self.flip else None)
        if self.cutout:
            images = images * _outside_square(images, self.cutout, draws.cy, draws.cx)
        return images


def _windows(images: Tensor, pad: int, dy: Tensor, dx: Tensor, mirrored: Tensor | None) -> Tensor:
    """Cut one window of the original size out of each padded image or, where `mirrored`, out of its mirror image.

    A window is H rows of W neighbouring pixels; with its first pixel known for every row of every image, the batch is
    one selection of rows out of the overlapping rows of memory, cheaper than an index for every pixel.
    """
    batch, channels, height, width = images.shape
    source = torch.arange(batch, device=images.device)
    if mirrored is not None:
        images = torch.cat([images, images.flip(3)])
        source = source + batch * mirrored
    padded = F.pad(images, (pad, pad, pad, pad)).contiguous()
    per_image, per_channel, per_row, _ = padded.stride()
    corner = source * per_image + dy * per_row + dx
    rows = torch.arange(channels, device=images.device).unsqueeze(1) * per_channel
    rows = rows + torch.arange(height, device=images.device) * per_row
    starts = (corner.view(batch, 1, 1) + rows).flatten()
    overlapping = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
    return overlapping.index_select(0, starts).view(batch, channels, height, width)


def _outside_square(images: Tensor, side: int, cy: Tensor, cx: Tensor) -> Tensor:
    """Return bool [B, 1, H, W], false in the square from (cy, cx) - side // 2 of `side` pixels down and right."""
    height, width = images.shape[2:]
    above, left = cy.unsqueeze(1) - side // 2, cx.unsqueeze(1) - side // 2
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows, columns = (y >= above) & (y < above + side), (x >= left) & (x < left + side)
    return ~(rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
