"""The parts of a set that training, validation and test take their images from: in memory, or in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from snnhll.data.image_files import ImageFiles, Key, pieces
from snnhll.data.pixels import channel_statistics

CHUNK = 64  # images that are looked at together
SAMPLE = 1024  # images of a stream whose statistics stand for all


class Split(ABC):
    """Images with their labels, int64 [N], on the device of training."""

    def __init__(self, labels: Tensor, device: torch.device) -> None:
        self.labels, self.device = labels.to(device), device

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, order: Tensor, size: int, key: Key | None = None) -> Iterator[Tensor]:
        """Yield the images at `order` [N], an index on the host, `size` at a time: uint8 [B, C, H, W] on the device.

        key: for training: what random crops are drawn by, where images are cropped as they are read.
        """

    @abstractmethod
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and std per channel, float64 [C], of the pixels in [0, 1]."""


class Held(Split):
    """Images held as one tensor on the device, uint8 [N, C, H, W]."""

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device) -> None:
        super().__init__(labels, device)
        self.images = images.to(device)

    def read(self, order: Tensor, size: int, key: Key | None = None) -> Iterator[Tensor]:
        for places in pieces(order.to(self.device), size):
            yield self.images.index_select(0, places)

    def statistics(self) -> tuple[Tensor, Tensor]:
        return channel_statistics([self.images])


class Streamed(Split):
    """Images decoded by worker processes when they are needed."""

    def __init__(self, files: ImageFiles, labels: Tensor, device: torch.device) -> None:
        super().__init__(labels, device)
        self.files = files

    def read(self, order: Tensor, size: int, key: Key | None = None) -> Iterator[Tensor]:
        for images in self.files.read(order, size, key):
            if self.device.type == "cuda":  # from pinned memory a copy does not make the host wait
                yield images.pin_memory().to(self.device, non_blocking=True)
            else:
                yield images.to(self.device)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Those of images spread evenly over the split, cropped in the centre."""
        places = torch.linspace(0, len(self) - 1, min(len(self), SAMPLE)).long()
        return channel_statistics(self.files.read(places, CHUNK))


def split_of(images: Tensor | ImageFiles, labels: Tensor, places: Tensor, device: torch.device) -> Split:
    """Return the images and labels at `places` of a part of a set."""
    if isinstance(images, Tensor):
        return Held(images[places], labels[places], device)
    return Streamed(images[places], labels[places], device)
