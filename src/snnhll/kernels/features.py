"""What a kernel looks at: the rates of a layer, reduced to few values per sample.

A Gaussian kernel of 100,000 rates underflows, and one of all neurons alike lets no neuron differ from its neighbours
(method.md, section 5, point 17). Every reduction here also has its transpose, `pullback`, so that a rule can send the
signal of a feature to the neurons it was made of without automatic differentiation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["flat", "pool", "group", "deviation"]


class Features(ABC):
    """Rates [B, F] or [B, C, H, W] to features [B, D]."""

    @abstractmethod
    def __call__(self, rates: Tensor) -> Tensor:
        """Features [B, D] of rates [B, ...]."""

    @abstractmethod
    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        """Transposed derivative: what the signal [B, D] on the features means for the rates; the shape of `rates`."""


def reduction(name: Reduction, size: int) -> Features:
    """The reduction called `name` to at most `size` features; flat and deviation fix their number themselves."""
    match name:
        case "flat":
            return Flat()
        case "pool":
            return Pool(size)
        case "group":
            return Group(size)
        case "deviation":
            return Deviation()


@dataclass(frozen=True)
class Flat(Features):
    """Every rate is a feature."""

    def __call__(self, rates: Tensor) -> Tensor:
        return rates.flatten(1)

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        return signal.view_as(rates)


@dataclass(frozen=True)
class Pool(Features):
    """Average pooling to at most `size` values: over space first, then over channels where they alone are more."""

    size: int

    def __call__(self, rates: Tensor) -> Tensor:
        return _apply(self._averages(rates), rates).flatten(1)

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        averages = self._averages(rates)
        return _apply([m.mT for m in averages], signal.unflatten(1, [len(m) for m in averages]))

    def _averages(self, rates: Tensor) -> list[Tensor]:
        """One averaging matrix for every axis of the rates but the batch."""
        channels, *space = rates.shape[1:]
        kept = min(channels, self.size)
        shrink = math.sqrt(min(1.0, self.size / (kept * math.prod(space))))
        sizes = [kept]
        for length in space:
            sizes.append(max(1, min(int(length * shrink), self.size // math.prod(sizes))))
        return [_averaging(i, o, rates) for i, o in zip(rates.shape[1:], sizes, strict=True)]


@dataclass(frozen=True)
class Group(Features):
    """Standard deviation within groups of neurons (Pogodin & Latham 2020, grouping with p = 1/2).

    Consecutive values, channel by channel, form `size` groups, or as many below that as divide their number.
    """

    size: int
    eps: float = 1e-6

    def __call__(self, rates: Tensor) -> Tensor:
        return self._deviation(self._centred(rates)).squeeze(-1)

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        centred = self._centred(rates)
        slope = centred / (centred.shape[-1] * self._deviation(centred))
        return (signal.unsqueeze(-1) * slope).view(rates.shape)

    def _centred(self, rates: Tensor) -> Tensor:
        grouped = rates.flatten(1).unflatten(1, (_groups(rates[0].numel(), self.size), -1))
        return grouped - grouped.mean(-1, keepdim=True)

    def _deviation(self, centred: Tensor) -> Tensor:
        return (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()


@dataclass(frozen=True)
class Deviation(Features):
    """Standard deviation over space of each channel (Nøkland & Eidnes 2019); the rate itself at a single position."""

    eps: float = 1e-6

    def __call__(self, rates: Tensor) -> Tensor:
        return self._per_channel(rates)(rates)

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        return self._per_channel(rates).pullback(rates, signal)

    def _per_channel(self, rates: Tensor) -> Features:
        return Flat() if rates[0, 0].numel() == 1 else Group(rates.shape[1], self.eps)


def _groups(values: int, size: int) -> int:
    """Most groups of equal length >= 2, at most `size`; a single one where nothing else divides."""
    return next(g for g in range(max(1, min(size, values // 2)), 0, -1) if values % g == 0)


def _averaging(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """[outputs, inputs]: row o averages its equal share of the inputs, shared where it ends within an input."""
    edges = torch.arange(outputs + 1, dtype=torch.float64) * (inputs / outputs)
    ends = torch.arange(inputs, dtype=torch.float64)
    low, high = edges[:-1, None].maximum(ends), edges[1:, None].minimum(ends + 1)
    return ((high - low).clamp(min=0) * (outputs / inputs)).to(like)


def _apply(matrices: list[Tensor], x: Tensor) -> Tensor:
    """Multiply every axis of x but the batch by its matrix, the last axis first."""
    for axis in range(len(matrices), 0, -1):
        x = torch.tensordot(x, matrices[axis - 1], dims=([axis], [1])).movedim(-1, axis)
    return x
