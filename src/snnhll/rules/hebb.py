"""Hebb's and Oja's rules (2-40, 2-41), on firing rates; they know neither labels nor errors.

    Hebb    ΔW_ji = η x_i y_j
    Oja     ΔW_ji = η (x_i y_j - y_j² W_ji)

x is the rate of what a layer receives, y that of its spikes, both of one sample; updates are means over the batch and,
for convolutions, over positions. Oja's decay bounds every row of W; Hebb's grows for ever, which is harmless only under
a normalisation. Biases and normalisation do not learn. The readout learns by itself, from labels.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from snnhll.build import Positive
from snnhll.networks.network import Network
from snnhll.rules.layerwise import LayerwiseRule, put_gradient, rates
from snnhll.rules.pieces import Piece
from snnhll.rules.requirements import no_standardised_weights
from snnhll.rules.rule import MakeOptimizer, Metrics


class HebbRule(LayerwiseRule):
    """Unsupervised correlation learning in every block. decay: Oja's term. rate: η; the optimiser is the readout's."""

    gradient: ClassVar[bool] = False

    def __init__(
        self, network: Network, make_optimizer: MakeOptimizer, decay: bool = False, rate: Positive = 1e-3
    ) -> None:
        super().__init__(network, make_optimizer)
        no_standardised_weights(network, "oja" if decay else "hebb")
        self.decay = decay
        self.optimizers[:-1] = [torch.optim.SGD([block.synapse.weight], lr=rate) for block in network.blocks]

    @torch.no_grad()
    def learn_layer(self, i: int, piece: Piece, labels: torch.Tensor) -> Metrics:
        synapse = piece.block.synapse
        x, y = rates(piece)
        places = y.numel() / y.shape[1]
        ascent = synapse.weight_gradient(x, y) / places
        if self.decay:
            strength = y.square().movedim(1, 0).flatten(1).sum(1) / places
            ascent = ascent - strength.view(-1, *(1,) * (ascent.dim() - 1)) * synapse.weight
        put_gradient(synapse.weight, -ascent)
        self.optimizers[i].step()
        return {"weight": synapse.weight.square().mean().sqrt()}
