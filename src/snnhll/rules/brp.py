"""Biologically plausible reward propagation (Zhang et al. 2021): labels, not errors, go to every layer directly.

    target of layer l    h̃^l = B^l y,    B^l fixed, random, uniform in [0, 1]; y the one-hot label
    ΔW^l = -η ∂/∂W ½ ||r^l - h̃^l||² / B                    through the layer's own surrogate gradient

so every class has a random pattern of rates that a layer is drawn to. A layer needs the label and its own activity; it
waits for no other. The readout descends cross-entropy on its detached input. (The paper trains the output layer by
mean squared error.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.layerwise import LayerwiseRule
from snnhll.rules.pieces import Piece
from snnhll.rules.rule import MakeOptimizer, Metrics, descend


class BRPRule(LayerwiseRule):
    """Random target rates a class. through_time: whether a layer's gradient crosses its own time steps."""

    def __init__(self, network: Network, make_optimizer: MakeOptimizer, through_time: bool = False) -> None:
        super().__init__(network, make_optimizer, through_time=through_time)
        self.patterns: list[nn.Parameter] = nn.ParameterList(  # type: ignore[assignment]
            nn.Parameter(torch.rand(network.classes, *block.layer.out_shape), requires_grad=False)
            for block in network.blocks
        )

    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        missed = rate_of(piece.spikes) - self.patterns[i][labels]
        loss = missed.square().sum() / (2 * len(labels))
        descend(self.optimizers[i], loss)
        return {"target": loss.detach()}
