"""BP-STDP (Tavanaei & Maida 2019): errors in spikes, sent back where neurons fired, times recent presynaptic spikes.

With n[t] the number of a neuron's spikes in the last ε steps up to t, and output neurons o that integrate and fire,
v_th = 1,

    ξ_o[t] = 1 for the label's neuron if n_o[t] = 0,  -1 for another if n_o[t] > 0,  else 0
    ξ_h[t] = Σ_o w_oh ξ_o[t] where n_h[t] > 0, else 0
    ΔW_ji = η Σ_t ξ_j[t] n_i[t]                                                          mean over the batch

The gate n_h > 0 stands where backpropagation has the derivative of the activation; of neurons that are pooled together,
one that fired most gets the error. Neurons integrate and fire (neuron=if), and inputs are spikes (encoding=poisson), as
in the paper.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import PositiveInt
from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.neurons.integrate_and_fire import IF
from snnhll.ops.reference import compute_dtype
from snnhll.rules.feedback import silent
from snnhll.rules.pieces import in_pieces
from snnhll.rules.requirements import integrate_and_fire, plain_weights
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct


class BPSTDPRule(Rule):
    """window: ε, in steps, at least 1: the step itself."""

    gradient: ClassVar[bool] = False

    def __init__(self, network: Network, make_optimizer: MakeOptimizer, window: PositiveInt = 4) -> None:
        super().__init__(network)
        check(network)
        self.window = window
        self.output_neurons = IF(network.blocks[-1].neuron.surrogate)
        self.optimizers = [make_optimizer(network.parameters())]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        net = self.network
        with torch.no_grad():
            pieces = in_pieces(net, images, through_time=False)
            scores = net.classify(pieces[-1].sent)
            error = self.output_error(self.output_neurons(scores, net.steps), labels)
        a = recent(pieces[0].source.expand(net.steps, *pieces[0].source.shape[1:]), self.window)
        for piece in pieces:
            way = piece.block.current(a)
            if piece.block.layer.pool > 1:
                way = piece.block.transmit(gated(recent(piece.spikes, self.window), way), None)
            a = gated(recent(piece.sent, self.window), way)
        self.optimizers[0].zero_grad(set_to_none=True)
        (-(error * net.classify(a)).sum() / len(labels)).backward()
        self.optimizers[0].step()
        return {"readout/error": error.abs().mean(), "correct": correct(scores.mean(0), labels)}

    def output_error(self, spikes: Tensor, labels: Tensor) -> Tensor:
        """Return ξ of the output neurons, [T, B, classes], for their spikes."""
        fired = recent(spikes, self.window) > 0
        wanted = F.one_hot(labels, self.network.classes).bool()
        return (wanted & ~fired).to(spikes.dtype) - (~wanted & fired).to(spikes.dtype)


def check(network: Network) -> None:
    """Raise UserError for a network whose spikes this rule cannot count."""
    if network.encoding.normalised:
        raise UserError("encoding: bp_stdp counts spikes, and direct encoding sends none; use encoding=poisson.")
    plain_weights(network, "bp_stdp", "counts spikes, which a normalisation would rescale")
    for block in network.blocks:
        integrate_and_fire(block, "bp_stdp")


def gated(counts: Tensor, way: Tensor) -> Tensor:
    """Return the counts n, with the gradient of `way` where they are above 0."""
    return counts + (counts > 0) * silent(way)


def recent(spikes: Tensor, window: int) -> Tensor:
    """Return how much [T, B, ...] came in the last `window` steps, this one included."""
    total = spikes.cumsum(0, dtype=compute_dtype(spikes))
    return torch.cat([total[:window], total[window:] - total[:-window]])
