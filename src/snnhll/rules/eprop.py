"""E-prop (Bellec et al. 2020): eligibility traces of each synapse times a learning signal of each neuron.

    ΔW_ji = -η Σ_t L_j[t] e_ji[t],    e_ji[t] = ψ(u_j[t] - v_th) x̄_i[t],    x̄_i[t] = λ x̄_i[t-1] + x_i[t]
    L[t] = B (softmax(y[t]) - one-hot label) / T

for LIF neurons in feedforward layers, whose readout has no memory of its own (κ = 0). feedback: "random", a fixed B for
every layer (random e-prop, the broadcast alignment of the paper); "symmetric", B = W_outᵀ for the last layer, which no
other layer has a path of its own to, so those before it keep a random B.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from snnhll.networks.network import Network
from snnhll.rules.course import Course
from snnhll.rules.feedback import Broadcast, output_error
from snnhll.rules.online import OnlineRule, Said
from snnhll.rules.rule import MakeOptimizer


class EpropRule(OnlineRule):
    """Traces in every layer, and the output error of every step broadcast to all of them."""

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        update: str = "accumulate",
        feedback: Literal["random", "symmetric"] = "random",
    ) -> None:
        super().__init__(network, make_optimizer, update)
        self.symmetric = feedback == "symmetric"
        self.feedback = Broadcast(network)

    def learn_step(self, x: Tensor, labels: Tensor, courses: list[Course], t: int) -> Said:
        sent = []
        for course in courses:
            sent.append(course.send(course.step(x.detach())))
            x = sent[-1]
        said = self.learn_readout_step(x.detach(), labels)
        error = output_error(said[0], labels) / self.network.steps
        signals = [self.signal(i, error).to(s.dtype) for i, s in enumerate(sent)]
        torch.autograd.backward(sent, signals)
        return said

    def signal(self, i: int, error: Tensor) -> Tensor:
        """Return the learning signal of block i, shaped as what it sends, for an output error [B, classes]."""
        if self.symmetric and i == len(self.network.blocks) - 1:
            shape = self.network.blocks[i].layer.pooled_shape
            return (error @ self.network.readout.weight.detach()).unflatten(1, shape)
        return self.feedback.to_layer(i, error)
