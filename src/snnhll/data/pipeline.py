"""From a set of images to the batches of training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import torch
from torch import Tensor

from snnhll.build import PositiveInt, Range
from snnhll.data.augment import Augment
from snnhll.data.image_files import pieces
from snnhll.data.imageset import ImageSet
from snnhll.data.noise.noise import Classifier, Noise
from snnhll.data.pixels import to_unit
from snnhll.data.randomness import generator
from snnhll.data.sampler import balanced as balanced_order
from snnhll.data.sampler import shuffled
from snnhll.data.splits import Split, split_of
from snnhll.errors import UserError

Batch = tuple[Tensor, Tensor]
SplitName = Literal["train", "val", "test"]
NOISE_BLOCK = 100  # test images whose noise is drawn, or whose attack is computed, together


class Data:
    """The splits of a set and their batches, on the training device.

    limit: first n training images of each class, from which the validation split is then held out. validation: fraction
    of the training images held out, stratified, drawn by `seed`. balanced: every batch holds equally many of a class.
    drop_last: leave out the last, smaller batch of an epoch; one of a single image is always left out, because batch
    statistics need two. noise: applied to training batches if it acts there; evaluation takes its noise per call.
    mean, std: per channel, float64 [C], of the training split's pixels in [0, 1], for the network to normalise by.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        batch_size: PositiveInt,
        seed: int,
        limit: PositiveInt | None = None,
        validation: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        balanced: bool = False,
        drop_last: bool = False,
        augment: Augment | None = None,
        noise: Noise | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        images = images if limit is None else images.limited(limit)
        train, val = images.split(validation, seed)
        self.name, self.variant, self.classes, self.shape = images.name, images.variant, images.classes, images.shape
        self.batch_size, self.seed, self.device = batch_size, seed, torch.device(device)
        everything = torch.arange(len(images.test_labels))
        self.splits = {
            "train": split_of(images.train_images, images.train_labels, train, self.device),
            "val": split_of(images.train_images, images.train_labels, val, self.device),
            "test": split_of(images.test_images, images.test_labels, everything, self.device),
        }
        self.augment = augment if augment is not None and augment.active else None
        self.train_noise = noise if noise is not None and noise.acts_in("train") else None
        self.mean, self.std = self.splits["train"].statistics()
        self._order = balanced_order if balanced else shuffled
        self._host_labels = images.train_labels[train]  # the order is drawn on the host: the same on every device
        self.steps_per_epoch = self._count_steps(drop_last)

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from step `start` on: images float32 [B, C, H, W] in [0, 1] and labels
        int64 [B].

        Order and augmentation depend on (seed, epoch, step) only, never on what was drawn before, so a resumed run
        sees the very batches an uninterrupted one sees.
        """
        train = self.splits["train"]
        order = self._order(self._host_labels, generator("cpu", self.seed, "order", epoch))
        order = order[start * self.batch_size : self.steps_per_epoch * self.batch_size]
        labels = pieces(train.labels.index_select(0, order.to(self.device)), self.batch_size)
        batches = train.read(order, self.batch_size, (self.seed, "crop", epoch))
        for step, images in enumerate(batches, start):
            if self.augment is not None:
                images = self.augment(images, generator(self.device, self.seed, "augment", epoch, step))
            key = (self.seed, "train noise", epoch, step)
            yield self._unit(images, labels[step - start], self.train_noise, key), labels[step - start]

    def eval_batches(
        self,
        split: SplitName,
        batch_size: int,
        noise: Noise | None = None,
        seed: int = 0,
        network: Classifier | None = None,
    ) -> Iterator[Batch]:
        """Yield a whole split in its own order, without augmentation, disturbed by `noise` whatever its phase.

        The noise of an image depends on (seed, split, position), not on batch_size; an attack also on `network`, its
        target. An empty split, as "val" with validation = 0, yields nothing.
        """
        part = self.splits[split]
        images: Iterator[Tensor]
        if noise is None:
            images = map(to_unit, part.read(torch.arange(len(part)), batch_size))
        else:
            images = _regrouped(self._disturbed(part, noise, (seed, "noise", split), network), batch_size)
        return zip(images, pieces(part.labels, batch_size), strict=True)

    def probe(self) -> Batch:
        """Return training images and labels, about a batch: equally many of each class, two at least, class after
        class, and always the same ones. Of more classes than half a batch has images, the first."""
        per_class = max(2, self.batch_size // len(self.classes))
        classes = range(min(len(self.classes), max(2, self.batch_size // 2)))
        places = torch.cat([(self._host_labels == c).nonzero().flatten()[:per_class] for c in classes])
        train = self.splits["train"]
        (images,) = train.read(places, len(places))
        return to_unit(images), train.labels[places.to(self.device)]

    def _disturbed(
        self, part: Split, noise: Noise, key: tuple[int | str, ...], network: Classifier | None
    ) -> Iterator[Tensor]:
        """Yield the images of a split, disturbed in blocks that lie where they do whatever the size of a batch."""
        for number, images in enumerate(part.read(torch.arange(len(part)), NOISE_BLOCK)):
            first = number * NOISE_BLOCK
            labels = part.labels[first : first + NOISE_BLOCK]
            yield self._unit(images, labels, noise, (*key, first), network)

    def _unit(
        self,
        images: Tensor,
        labels: Tensor,
        noise: Noise | None,
        key: tuple[int | str, ...],
        network: Classifier | None = None,
    ) -> Tensor:
        unit = to_unit(images)
        return unit if noise is None else noise.against(network, unit, labels, generator(self.device, *key))

    def _count_steps(self, drop_last: bool) -> int:
        full, rest = divmod(len(self.splits["train"]), self.batch_size)
        steps = full + (rest > 1 and not drop_last)
        if steps == 0:
            raise UserError(
                f"data.drop_last: the {rest} training images do not fill one batch of {self.batch_size}; "
                f"lower the batch size or set data.drop_last=false."
            )
        return steps


def _regrouped(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the rows of `blocks` one after another, `size` at a time."""
    rows: Tensor | None = None
    for block in blocks:
        rows = block if rows is None else torch.cat([rows, block])
        while len(rows) >= size:
            yield rows[:size]
            rows = rows[size:]
    if rows is not None and len(rows):
        yield rows
