"""The interface of a local loss: a pure function of what one layer saw, plus its own small head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor, nn

from snnhll.losses.features import pooled
from snnhll.ops.reference import compute_dtype


def as_given(pixels: Tensor) -> Tensor:
    """Return pixels that are normalised already."""
    return pixels


@dataclass(frozen=True)
class Batch:
    """A batch as losses see it. pixels: [B, C, H, W]; labels [B]; classes: number of classes."""

    pixels: Tensor
    labels: Tensor
    classes: int
    normalise: Callable[[Tensor], Tensor] = as_given

    @cached_property
    def images(self) -> Tensor:
        """The pixels normalised, [B, C, H, W]; computed for the losses that look at them."""
        return self.normalise(self.pixels)


@dataclass(frozen=True)
class Activity:
    """What one layer saw and did. Gradients flow from `spikes` and `rate` into this layer only.

    spikes: [S, B, ...], one entry per time step at which a per-step loss is due; the rate itself when losses are on
    rates. rate: [B, ...], mean of the spikes over time. source: [B, ...], mean over time of the layer's input,
    detached. last: whether these steps include the last one, when losses that are due once a sample are computed.
    """

    spikes: Tensor
    rate: Tensor
    source: Tensor
    last: bool = True
    _pooled: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def on_rates(cls, rate: Tensor, source: Tensor) -> Activity:
        """Return what losses see that are on rates; the rate is its own flat form, without a detour for gradients."""
        return cls(rate.unsqueeze(0), rate, source, _pooled={None: rate})

    @classmethod
    def on_pooled(cls, maps: Tensor, side: int, last: bool = True) -> Activity:
        """Return what losses see that look at nothing but `pooled(side)`: maps [T, B, C, side, side]."""
        unseen = maps.new_empty(0)
        return cls(maps, unseen, unseen, last, _pooled={side: maps.flatten(0, 1).to(compute_dtype(maps))})

    def pooled(self, side: int | None) -> Tensor:
        """Return the spikes with maps average-pooled to `side`, [S * B, ...], stored like the rate.

        Computed once for all terms that ask. The pooling itself is in the precision of the spikes.
        """
        if side not in self._pooled:
            flat = self._pooled[None] if None in self._pooled else self.spikes.flatten(0, 1)
            self._pooled[side] = pooled(flat, side).to(self.rate.dtype)
        return self._pooled[side]


@dataclass(frozen=True)
class Similarity:
    """How alike the samples of a batch are to one layer, for pictures: kernel matrices [B, B] of its features and of
    the labels, and what the loss makes of them, numbers by name."""

    features: Tensor
    labels: Tensor
    numbers: dict[str, float]


def alone(x: Tensor, dim: int = 0) -> Tensor:
    """Return x, which has the samples of the whole batch already."""
    return x


class Loss(nn.Module, ABC):
    """One term of a layer's loss: the mean of something over samples, or over pairs of samples.

    `once`: it is due once a sample, on rates, not at every step (section 3.2). `signed`: its value can be negative.
    `pooled_only`: `Activity.pooled(self.side)` is all it looks at; of the class that says so alone, not of subclasses.
    `gathered`: x with the samples of the whole batch along an axis; a loss of pairs takes labels and features through
    it, since a process may have a share of the batch only (snnhll/parallel/replicas.py).
    """

    once: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    pooled_only: ClassVar[bool] = False
    side: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.gathered: Callable[..., Tensor] = alone

    def prepare(self, batch: Batch) -> Any:
        """Return what every layer's instance needs of a batch; computed once a batch. Independent of the layer."""
        return batch.labels

    @abstractmethod
    def forward(self, activity: Activity, target: Any) -> Tensor:
        """Return the loss, summed over the steps of `activity.spikes`, a scalar. target: what `prepare` returned."""

    def logits(self, rate: Tensor) -> Tensor | None:
        """Return the class scores [B, classes] of the layer's own head for its rate [B, ...], None without a head."""
        return None

    def similarity_of(self, rate: Tensor, batch: Batch) -> Similarity | None:
        """Return what the loss compares in a batch that the layer answers by `rate` [B, ...]; None where it compares
        no samples."""
        return None
