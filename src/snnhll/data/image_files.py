"""Images that stay in their files until they are needed: decoded and cropped by worker processes.

Images for training are cropped at random, in any size and shape that holds a share of the image, and resized (Szegedy
et al. 2015); others are cropped in the centre. What a crop is depends on the seed, the epoch and the image: not on the
workers, nor on where a run was resumed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from snnhll.data.randomness import generator
from snnhll.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Key = tuple[int | str, ...]
Box = tuple[float, float, float, float]  # left, upper, right, lower
TRIES = 10  # crops drawn before one in the centre is taken, of images too narrow for most
RATIO = 4 / 3  # longest side of a crop over its shortest, at most
CENTRE = 0.875  # side of the centre crop over the shorter side of the image, as 224 of 256


def pieces(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Return the rows in pieces of `size`, the last may be smaller; none where there are no rows."""
    return rows.split(size) if len(rows) else ()


@contextmanager
def opened(path: Path) -> Iterator[Image]:
    """Open an image file to be decoded within. Raises UserError, naming the file, when it is no readable image, or one
    of more than 8 bits a channel, whose bright pixels would all become white."""
    from PIL import Image  # sets in memory need none of it

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{path} has more than 8 bits a channel ({image.mode}); convert it to 8.")
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read {path} as an image ({error}); repair or remove it.") from error


@dataclass(frozen=True)
class Crop:
    """Reads images as uint8 [size, size, channels]. share: of the image's area, that a random crop holds at least."""

    size: int
    channels: int
    share: float

    def __call__(self, path: str, draw: torch.Generator | None) -> np.ndarray:
        """Return a crop drawn by `draw`, or the centre. Raises UserError, naming the file, when it is no image."""
        from PIL.Image import Resampling

        with opened(Path(path)) as image:
            width, height = image.size
            box = centre_box(width, height) if draw is None else random_box(width, height, self.share, draw)
            enough = self.size / min(box[2] - box[0], box[3] - box[1])
            image.draft(None, (math.ceil(width * enough), math.ceil(height * enough)))  # JPEG: decodes a part of it
            x, y = image.width / width, image.height / height
            left, upper, right, lower = box
            pixels = image.convert("RGB" if self.channels == 3 else "L").resize(
                (self.size, self.size), Resampling.BILINEAR, (x * left, y * upper, x * right, y * lower)
            )
            return np.asarray(pixels).reshape(self.size, self.size, self.channels)


@dataclass(frozen=True)
class ImageFiles:
    """Images that stay in their files: where a set has a tensor of pixels, uint8 [N, C, H, W], this stands for one.

    names: paths within `folder`, as bytes of one length, [N]. workers: processes that decode, no more than
    there are cores; 0: this one.
    """

    dtype: ClassVar[torch.dtype] = torch.uint8

    folder: Path
    names: np.ndarray
    crop: Crop
    workers: int

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), self.crop.channels, self.crop.size, self.crop.size))

    def __getitem__(self, places: Tensor) -> ImageFiles:
        """Return the images at `places`, still in their files."""
        return replace(self, names=self.names[places.numpy()])

    def path(self, place: int) -> str:
        return f"{self.folder}/{os.fsdecode(self.names[place])}"

    def read(self, order: Tensor, size: int, key: Key | None = None) -> Iterator[Tensor]:
        """Yield the images at `order` [N], `size` at a time, uint8 [B, C, H, W], while workers decode the next ones.

        key: what random crops are a function of, beside the image; None: cropped in the centre. Raises UserError,
        naming the file, where one is no image.
        """
        from torch.utils.data import DataLoader  # slow to import, and needed only here

        loader: Any = DataLoader(
            _Decoded(self, key),  # type: ignore[arg-type]
            batch_sampler=(places.tolist() for places in pieces(order, size)),
            num_workers=min(self.workers, _cores()) if len(order) > size else 0,
            collate_fn=_as_is,
        )
        for images in loader:
            if isinstance(images, UserError):
                raise images
            yield images


class _Decoded:
    """What a worker makes of a batch of places. An error is returned, so that it crosses over as it is."""

    def __init__(self, files: ImageFiles, key: Key | None) -> None:
        self.files, self.key = files, key

    def __getitems__(self, places: list[int]) -> Tensor | UserError:
        try:
            pixels = np.stack([self._decode(place) for place in places])
        except UserError as error:
            return error
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def _decode(self, place: int) -> np.ndarray:
        draw = None if self.key is None else generator("cpu", *self.key, place)
        return self.files.crop(self.files.path(place), draw)


def _as_is(batch: Any) -> Any:
    return batch


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def centre_box(width: int, height: int) -> Box:
    """Return the square in the centre of an image."""
    side = CENTRE * min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def random_box(width: int, height: int, share: float, draw: torch.Generator) -> Box:
    """Return a box of uniform area, from `share` of the image to all of it, and log-uniform ratio of its sides, at a
    uniform place; the centre where none of some tries fits in."""
    for area, ratio, x, y in torch.rand(TRIES, 4, generator=draw).tolist():
        stretch = RATIO ** (ratio - 0.5)  # square root of width over height, which is within 1/RATIO and RATIO
        side = math.sqrt((share + (1 - share) * area) * width * height)
        across, down = side * stretch, side / stretch
        if across <= width and down <= height:
            left, upper = x * (width - across), y * (height - down)
            return left, upper, left + across, upper + down
    return centre_box(width, height)
