"""Surrogate-gradient backpropagation through time (STBP, Wu et al. 2018): the reference every table needs.

One loss at the readout, CE(y, mean over t of W s^L[t]), its gradient through all layers and all time steps.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct, descend


class BPTTRule(Rule):
    """Global backpropagation on the same network that the local rules train."""

    residual: ClassVar[bool] = True
    recordable: ClassVar[bool] = True

    def __init__(self, network: Network, make_optimizer: MakeOptimizer) -> None:
        super().__init__(network)
        self.optimizers = [make_optimizer(network.parameters())]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        logits = self.forward(images)
        loss = F.cross_entropy(logits, labels)
        descend(self.optimizers[0], loss)
        return {"readout/pred": loss.detach(), "correct": correct(logits, labels)}

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of the network, with the gradient that the rule descends."""
        return self.network(images)
