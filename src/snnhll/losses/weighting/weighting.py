"""The interface of a weighting: how much each term of one layer's loss counts.

Each layer has a weighting of its own, which sees nothing but that layer's losses and their gradient at its synapses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

TINY = 1e-12  # stands in for a loss or a gradient of zero where one is divided by


class Weighting(nn.Module, ABC):
    """The weights of the terms of one layer's loss."""

    @abstractmethod
    def weights(self, configured: Mapping[str, float]) -> Mapping[str, float | Tensor]:
        """Return the present weight of every term. configured: `loss.weights`."""

    @abstractmethod
    def hear(self, losses: Mapping[str, Tensor], last: bool, shared: Tensor) -> None:
        """Hear of the terms that are about to be descended, with their graph, before their weights are asked for.

        last: whether the batch ends with these time steps. shared: the layer's synaptic weights, which every term
        reaches.
        """


class Adaptive(Weighting):
    """A weighting that learns: it starts at `loss.weights` and changes once a batch.

    All state is in buffers, so a checkpoint has it and a resumed run repeats an uninterrupted one to the bit. Nothing
    here makes an accelerator wait.
    """

    current: Tensor

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.register_buffer("current", torch.tensor([*weights.values()]))
        self._sums: dict[str, Tensor] = {}  # over the time steps of the present batch

    def weights(self, configured: Mapping[str, float]) -> Mapping[str, float | Tensor]:
        return dict(zip(configured, self.current.clone().unbind(), strict=True))

    def hear(self, losses: Mapping[str, Tensor], last: bool, shared: Tensor) -> None:
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(loss)) + loss.detach()
        if last:  # every term is due at the last step
            sums = torch.stack([self._sums[name] for name in losses])
            self._sums = {}
            self.adapt(sums, partial(gradient_norms, losses, shared))

    @abstractmethod
    def adapt(self, losses: Tensor, norms: Callable[[], Tensor]) -> None:
        """Set `current`, [K], from one batch.

        losses: L_k, [K], each summed over the time steps of the batch. norms: computes ‖∂L_k/∂W‖, [K], at the cost of
        a backward pass for each term; W are the layer's synaptic weights. Under trainer.update=online, where no graph
        spans several steps, it is that of the last step.
        """


def gradient_norms(losses: Mapping[str, Tensor], shared: Tensor) -> Tensor:
    """Return the length of each loss's gradient with respect to `shared`, [K]."""
    return torch.stack([torch.autograd.grad(loss, shared, retain_graph=True)[0].norm() for loss in losses.values()])


def with_sum(shares: Tensor, total: float) -> Tensor:
    """Return positive `shares` scaled to sum to `total`."""
    return shares * (total / shares.sum())
