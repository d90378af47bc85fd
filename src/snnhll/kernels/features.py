"""What a kernel looks at: the rates of a layer, reduced to few values per sample.

A Gaussian kernel of 100,000 rates underflows, and one of all neurons alike lets no neuron differ from its neighbours
(method.md, section 5, point 17). Every reduction here also has its transpose, `pullback`, so that a rule can send the
signal of a feature to the neurons it was made of without automatic differentiation.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

Reduction = Literal["flat", "pool", "group", "deviation"]


class Features(ABC):
    """Rates [B, F] or [B, C, H, W] to features [B, D]; automatic differentiation through a call uses `pullback` too."""

    def __call__(self, rates: Tensor) -> Tensor:
        return cast(Tensor, _Reduce.apply(rates, self))

    @abstractmethod
    def values(self, rates: Tensor) -> Tensor:
        """Features [B, D] of rates [B, ...]."""

    @abstractmethod
    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        """Transposed derivative: what the signal [B, D] on the features means for the rates; the shape of `rates`."""


class _Reduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rates: Tensor, features: Features) -> Tensor:
        ctx.save_for_backward(rates)
        ctx.features = features
        return features.values(rates)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.features.pullback(ctx.saved_tensors[0], grads[0]), None


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

    def values(self, rates: Tensor) -> Tensor:
        return rates.flatten(1)

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        return signal.view_as(rates)


@dataclass(frozen=True)
class Pool(Features):
    """Average pooling to at most `size` values: over space first, then over channels where they alone are more."""

    size: int

    def values(self, rates: Tensor) -> Tensor:
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

    A group is a run of neurons, or of whole channels of a map. There are `size` groups, or as many below that as divide
    the neurons or channels evenly.
    """

    size: int
    eps: float = 1e-6

    def values(self, rates: Tensor) -> Tensor:
        return self._deviation(self._centred(rates))

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        centred = self._centred(rates)
        deviation = self._deviation(centred)
        members = centred[0].numel() // deviation.shape[1]
        return centred * _spread(signal / (deviation * members), rates)

    def _centred(self, rates: Tensor) -> Tensor:
        return rates - _spread(self._mean(rates), rates)

    def _deviation(self, centred: Tensor) -> Tensor:
        return (self._mean(centred.square()) + self.eps).sqrt()

    def _mean(self, x: Tensor) -> Tensor:
        """Mean of every group, [B, groups]: over space first, which is quick in any memory format."""
        alone = x[0, 0].numel() == 1  # then a group of one would have no deviation
        units = x.mean(tuple(range(2, x.dim()))) if x.dim() > 2 else x
        return units.unflatten(1, (_groups(x.shape[1], self.size, shortest=2 if alone else 1), -1)).mean(2)


@dataclass(frozen=True)
class Deviation(Features):
    """Standard deviation over space of each channel (Nøkland & Eidnes 2019); the rate itself at a single position."""

    eps: float = 1e-6

    def values(self, rates: Tensor) -> Tensor:
        return self._per_channel(rates).values(rates)

    def pullback(self, rates: Tensor, signal: Tensor) -> Tensor:
        return self._per_channel(rates).pullback(rates, signal)

    def _per_channel(self, rates: Tensor) -> Features:
        return Flat() if rates[0, 0].numel() == 1 else Group(rates.shape[1], self.eps)


def _groups(members: int, size: int, shortest: int) -> int:
    """The largest number of equal groups, at most `size`, each at least `shortest` long; one where none divides."""
    most = min(size, members // shortest)
    found = next((g for g in range(most, 0, -1) if members % g == 0), 1)
    if found < most / 2:
        warnings.warn(
            f"{members} neurons or channels divide evenly into {found} group{'s' * (found > 1)} only, where {most} "
            f"were possible: the kernel sees little of the layer. Choose one with more divisors, or features=pool.",
            stacklevel=2,
        )
    return found


def _spread(groups: Tensor, like: Tensor) -> Tensor:
    """One value a group, [B, groups], as one a neuron or channel, to broadcast over `like` [B, C, ...]."""
    units = groups.repeat_interleave(like.shape[1] // groups.shape[1], 1)
    return units.view(*units.shape, *(1,) * (like.dim() - 2))


def _averaging(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """[outputs, inputs]: row o averages its equal share of the inputs, shared where it ends within an input."""
    edges = torch.arange(outputs + 1, dtype=torch.float64, device=like.device) * (inputs / outputs)
    ends = torch.arange(inputs, dtype=torch.float64, device=like.device)
    low, high = edges[:-1, None].maximum(ends), edges[1:, None].minimum(ends + 1)
    return ((high - low).clamp(min=0) * (outputs / inputs)).to(like)


def _apply(matrices: list[Tensor], x: Tensor) -> Tensor:
    """Multiply every axis of x but the batch by its matrix, the last axis first."""
    for axis in range(len(matrices), 0, -1):
        x = torch.tensordot(x, matrices[axis - 1], dims=([axis], [1])).movedim(-1, axis)
    return x
