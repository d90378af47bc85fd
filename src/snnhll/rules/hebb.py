"""Hebb's and Oja's rules (2-40, 2-41), on firing rates; they know neither labels nor errors.

    none        ΔW_j = η y_j x                                              Hebb
    oja         ΔW_j = η y_j (x - y_j W_j)
    sanger      ΔW_j = η y_j (x - Σ_{k<=j} y_k W_k)                         Sanger 1989
    subspace    ΔW_j = η y_j (x - Σ_k y_k W_k)                              Oja 1989

x is the rate of what a layer receives, y that of its spikes, both of one sample; updates are means over the batch and,
for convolutions, over positions. Oja's decay bounds every row of W; Hebb's grows for ever, which is harmless only under
a normalisation. Under both all neurons look for the same feature. The last two take away from a neuron's input what
other neurons of the layer already stand for, so that they come to differ. Biases and normalisation do not learn. The
readout learns by itself, from labels.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.networks.network import Network
from snnhll.rules.layerwise import LayerwiseRule, put_gradient, rates
from snnhll.rules.pieces import Piece
from snnhll.rules.requirements import no_standardised_weights
from snnhll.rules.rule import MakeOptimizer, Metrics

Decay = Literal["none", "oja", "sanger", "subspace"]


class HebbRule(LayerwiseRule):
    """Unsupervised correlation learning in every block. rate: η; the optimiser is the readout's."""

    gradient: ClassVar[bool] = False

    def __init__(
        self, network: Network, make_optimizer: MakeOptimizer, decay: Decay = "none", rate: Positive = 1e-3
    ) -> None:
        super().__init__(network, make_optimizer)
        no_standardised_weights(network, "Hebb's rule")
        self.decay = decay
        self.optimizers[:-1] = [torch.optim.SGD([block.synapse.weight], lr=rate) for block in network.blocks]

    @torch.no_grad()
    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        synapse = piece.block.synapse
        x, y = rates(piece)
        fired = y.movedim(1, 0).flatten(1)  # [neurons, samples and positions]
        places = fired.shape[1]
        ascent = (synapse.weight_gradient(x, y) - self.decayed(fired, synapse.weight)) / places
        put_gradient(synapse.weight, -ascent)
        self.optimizers[i].step()
        return {"weight": synapse.weight.square().mean().sqrt()}

    def decayed(self, fired: Tensor, weight: Tensor) -> Tensor:
        """Return Σ y_j Σ_k y_k W_k over samples and positions, shaped as the weights, for rates y [neurons, places]."""
        rows = weight.flatten(1)
        if self.decay == "none":
            return torch.zeros_like(weight)
        if self.decay == "oja":
            return (fired.square().sum(1, keepdim=True) * rows).view_as(weight)
        products = fired @ fired.t()
        return ((products.tril() if self.decay == "sanger" else products) @ rows).view_as(weight)
