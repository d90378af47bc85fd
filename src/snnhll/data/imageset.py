"""A labelled set of images, in memory or in their files: what every loader returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from snnhll.data.image_files import ImageFiles
from snnhll.data.stratify import stratified_split
from snnhll.errors import UserError


@dataclass(frozen=True)
class ImageSet:
    """Training and test images with labels, checked on construction.

    train_images, test_images: uint8 [N, C, H, W], pixels 0..255, one size for both; a tensor, or the files they are in.
    train_labels, test_labels: int64 [N], indices into `classes`. variant: what results must say about where the images
    come from, "" for the original.
    Raises UserError when a part is empty, shapes or counts disagree, a label is out of range or only one class occurs.
    """

    name: str
    train_images: Tensor | ImageFiles
    train_labels: Tensor
    test_images: Tensor | ImageFiles
    test_labels: Tensor
    classes: tuple[str, ...]
    variant: str = ""

    def __post_init__(self) -> None:
        self._check_part("training", self.train_images, self.train_labels)
        self._check_part("test", self.test_images, self.test_labels)
        train, test = self.train_images.shape[1:], self.test_images.shape[1:]
        if train != test:
            raise UserError(
                f"data={self.name}: training images are {_size(train)} but test images {_size(test)}; "
                f"make them one size."
            )
        if len(self.train_labels.unique()) < 2:
            raise UserError(
                f"data={self.name}: the training images are all of one class; a classifier needs two or more."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def limited(self, per_class: int) -> ImageSet:
        """Return the set with the first `per_class` training images of each class, in their order; test untouched."""
        of_class = [(self.train_labels == label).nonzero().flatten() for label in range(len(self.classes))]
        kept = torch.cat([members[:per_class] for members in of_class]).sort().values
        return replace(self, train_images=self.train_images[kept], train_labels=self.train_labels[kept])

    def split(self, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
        """Return indices (train, validation) into the training images: stratified, seeded and disjoint."""
        return stratified_split(self.train_labels, fraction, seed)

    def _check_part(self, part: str, images: Tensor | ImageFiles, labels: Tensor) -> None:
        if len(images.shape) != 4 or images.dtype != torch.uint8 or labels.dtype != torch.int64:
            raise UserError(
                f"data={self.name}: {part} images must be uint8 [N, C, H, W] with int64 labels, "
                f"got {images.dtype} {list(images.shape)} with {labels.dtype}."
            )
        if 0 in images.shape:
            raise UserError(f"data={self.name}: has no {part} images; expected at least one.")
        if labels.shape != images.shape[:1]:
            raise UserError(
                f"data={self.name}: {len(images)} {part} images but labels of shape {list(labels.shape)}; "
                f"fetch the set anew, its files do not belong together."
            )
        low, high = labels.aminmax()
        if low < 0 or high >= len(self.classes):
            raise UserError(
                f"data={self.name}: {part} labels run from {int(low)} to {int(high)}, expected 0 to "
                f"{len(self.classes) - 1}; fetch the set anew, its label file is damaged."
            )


def _size(shape: torch.Size) -> str:
    return "x".join(map(str, shape))
