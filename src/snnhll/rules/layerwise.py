"""Rules under which a layer learns from what it saw and did itself, before the next layer runs."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnhll.losses.cross_entropy import cross_entropy
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.optimizers.optimizer import Optimizer
from snnhll.rules.pieces import Piece, run_piece
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct, descend


def learn_readout(network: Network, optimizer: Optimizer, received: Tensor, labels: Tensor) -> Metrics:
    """Train the readout on its detached input [S, B, ...], one cross-entropy a step; it predicts by their mean."""
    logits = network.classify(received)
    loss = cross_entropy(logits.flatten(0, 1), labels)
    descend(optimizer, loss)
    return {"readout/pred": loss.detach(), "correct": correct(logits.mean(0), labels)}


class LayerwiseRule(Rule):
    """One optimiser a layer, for its own parameters and those of its head; a readout that learns by itself.

    heads: one module a block that belongs to the layer while it learns. through_time: whether a layer's gradient
    crosses its own time steps.
    """

    local: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        heads: list[nn.Module] | None = None,
        through_time: bool = False,
    ) -> None:
        super().__init__(network)
        self.through_time = through_time
        self.heads: list[nn.Module] = nn.ModuleList(heads or [])  # type: ignore[assignment]
        extra = [list(head.parameters()) for head in self.heads] or [[] for _ in network.blocks]
        self.optimizers = [
            *(make_optimizer([*block.parameters(), *own]) for block, own in zip(network.blocks, extra, strict=True)),
            make_optimizer(network.readout.parameters()),
        ]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        x, metrics = self.network.encode(images), Metrics()
        for i, block in enumerate(self.network.blocks):
            piece = run_piece(self.network, block, x, self.through_time)
            for name, value in self.learn_layer(i, piece, labels).items():
                metrics[f"layer{i + 1}/{name}"] = value
            x = piece.sent.detach()
        received = rate_of(x).unsqueeze(0)
        return metrics | learn_readout(self.network, self.optimizers[-1], received, labels)

    @abstractmethod
    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        """Let block i learn from its own part of the pass; returns the values of its losses, by name."""


def put_gradient(parameter: Tensor | None, gradient: Tensor) -> None:
    """Set a gradient that a rule has written out itself, where there is such a parameter."""
    if parameter is not None:
        parameter.grad = gradient.to(parameter.dtype)


@torch.no_grad()
def rates(piece: Piece) -> tuple[Tensor, Tensor]:
    """Return the mean over time of what a layer received and of its own spikes, both [B, ...]."""
    return rate_of(piece.source), rate_of(piece.spikes)
