"""Global feedback and local plasticity (Zhao et al. 2020, GLSNN): targets by direct feedback, rates moved to them.

    target of layer l    r̃^l = r^l - B^l e,    e = softmax(y) - one-hot label (that of rule=dfa)
    derivative: true     ΔW^l = -η ∂/∂W^l ½ |r^l - r̃^l|²
    derivative: false    ΔW^l = η (r̃^l - r^l) r^{l-1}ᵀ

The first, with the neuron's surrogate derivative, is what the authors' program (in BrainCog) computes; its last hidden
layer, taught like the others here, has its target along the readout's weights. The second is differential STDP, ΔW ∝
pre · d(post)/dt, for a postsynaptic rate that moves from r to its target. By it silent neurons learn too,
but all changes of a layer lie in the few directions of B^l, one a class, whatever its neurons respond to.
step_size scales B.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import Positive
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.feedback import Broadcast, output_error, teach
from snnhll.rules.layerwise import put_gradient, rates
from snnhll.rules.pieces import Piece, in_pieces
from snnhll.rules.requirements import no_standardised_weights
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct


class GLSNNRule(Rule):
    """derivative: see above; without it biases follow the differences of rates, and normalisation does not learn."""

    def __init__(
        self, network: Network, make_optimizer: MakeOptimizer, step_size: Positive = 1.0, derivative: bool = True
    ) -> None:
        super().__init__(network)
        if not derivative:
            no_standardised_weights(network, "glsnn")
        self.step_size, self.learn = step_size, teach if derivative else plasticity
        self.feedback = Broadcast(network)
        self.optimizers = [make_optimizer(network.parameters())]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        pieces = in_pieces(self.network, images, through_time=False)
        logits = self.network.classify(rate_of(pieces[-1].sent.detach()))
        loss = F.cross_entropy(logits, labels)
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        error = output_error(logits, labels)
        for i, piece in enumerate(pieces):
            self.learn(piece, self.step_size * self.feedback.to_layer(i, error))
        self.optimizers[0].step()
        return {"readout/pred": loss.detach(), "correct": correct(logits, labels)}


@torch.no_grad()
def plasticity(piece: Piece, missing: Tensor) -> None:
    """Put -(r̃ - r) pre into the gradients of a layer. missing: r - r̃ of what it sends, [B, ...]."""
    synapse, pool = piece.block.synapse, piece.block.layer.pool
    pre, post = rates(piece)
    if pool > 1:  # what is missing at a pooled rate is missing at the neurons of its window
        missing = F.interpolate(missing, scale_factor=pool)
        short = [have - got for have, got in zip(post.shape[2:], missing.shape[2:], strict=True)]
        missing = F.pad(missing, (0, short[1], 0, short[0]))
    put_gradient(synapse.weight, synapse.weight_gradient(pre, missing.to(pre.dtype)))
    put_gradient(synapse.bias, missing.movedim(1, 0).flatten(1).sum(1))
