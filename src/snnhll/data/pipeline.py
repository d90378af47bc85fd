"""From a set of images to the batches of training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from snnhll.build import PositiveInt, Range
from snnhll.data.augment import Augment
from snnhll.data.imageset import ImageSet
from snnhll.data.noise.noise import Classifier, Noise
from snnhll.data.pixels import channel_statistics, to_unit
from snnhll.data.randomness import generator
from snnhll.data.sampler import balanced as balanced_order
from snnhll.data.sampler import shuffled
from snnhll.errors import UserError

Batch = tuple[Tensor, Tensor]
SplitName = Literal["train", "val", "test"]
NOISE_BLOCK = 100  # test images whose noise is drawn, or whose attack is computed, together


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, C, H, W] and labels int64 [N], on the device of training."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Data:
    """The splits of a set, each one tensor on the training device, and their batches.

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
        self.splits = {
            "train": self._split(images.train_images[train], images.train_labels[train]),
            "val": self._split(images.train_images[val], images.train_labels[val]),
            "test": self._split(images.test_images, images.test_labels),
        }
        self.augment = augment if augment is not None and augment.active else None
        self.train_noise = noise if noise is not None and noise.acts_in("train") else None
        self.mean, self.std = channel_statistics(self.splits["train"].images)
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
        order = self._order(self._host_labels, generator("cpu", self.seed, "order", epoch)).to(self.device)
        labels = train.labels.index_select(0, order)
        for step in range(start, self.steps_per_epoch):
            batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
            images = train.images.index_select(0, order[batch])
            if self.augment is not None:
                images = self.augment(images, generator(self.device, self.seed, "augment", epoch, step))
            key = (self.seed, "train noise", epoch, step)
            yield self._unit(images, labels[batch], self.train_noise, key), labels[batch]

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
        for first in range(0, len(part), batch_size):
            batch = range(first, min(first + batch_size, len(part)))
            labels = part.labels[batch.start : batch.stop]
            if noise is None:
                yield to_unit(part.images[batch.start : batch.stop]), labels
            else:
                yield self._disturbed(part, batch, noise, (seed, "noise", split), network), labels

    def probe(self) -> Batch:
        """Return training images and labels, about a batch: equally many of each class, two at least, class after
        class, and always the same ones."""
        train = self.splits["train"]
        per_class = max(2, self.batch_size // len(self.classes))
        places = torch.cat([(train.labels == c).nonzero().flatten()[:per_class] for c in range(len(self.classes))])
        return to_unit(train.images[places]), train.labels[places]

    def _disturbed(
        self, part: Split, batch: range, noise: Noise, key: tuple[int | str, ...], network: Classifier | None
    ) -> Tensor:
        """Return the images of `batch`, disturbed in blocks that lie where they do whatever the size of a batch."""
        pieces = []
        for start in range(batch.start - batch.start % NOISE_BLOCK, batch.stop, NOISE_BLOCK):
            block = slice(start, start + NOISE_BLOCK)
            images = self._unit(part.images[block], part.labels[block], noise, (*key, start), network)
            pieces.append(images[max(batch.start - start, 0) : batch.stop - start])
        return torch.cat(pieces)

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

    def _split(self, images: Tensor, labels: Tensor) -> Split:
        return Split(images.to(self.device), labels.to(self.device))

    def _count_steps(self, drop_last: bool) -> int:
        full, rest = divmod(len(self.splits["train"]), self.batch_size)
        steps = full + (rest > 1 and not drop_last)
        if steps == 0:
            raise UserError(
                f"data.drop_last: the {rest} training images do not fill one batch of {self.batch_size}; "
                f"lower the batch size or set data.drop_last=false."
            )
        return steps
