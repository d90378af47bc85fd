"""Equilibrium propagation (Scellier & Bengio 2017) with spikes (as O'Connor et al. 2019, Martin et al. 2021).

Integrate-and-fire neurons in layers that are coupled both ways, by W up and by the same W transposed down:

    I^l[t] = W^l s^{l-1}[t] + b^l + W^{l+1}ᵀ s^{l+1}[t-1],    r^l = mean of s^l[t] over the second half of a phase

so that rates settle at r = clip(I / v_th, 0, 1), the fixed point of a Hopfield energy with a hard sigmoid. A free phase
of T steps is followed by a nudged one that goes on from its state, with β (label - s^L[t-1]) added at the output:

    ΔW^l = η/β (r^l_β r^{l-1}_βᵀ - r^l_0 r^{l-1}_0ᵀ)                                      mean over the batch

Classification is by the output's rates in the free phase, with feedback; the network alone, as `snnhll.load` returns
it, runs without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.build import Positive
from snnhll.networks.network import Inference, Network
from snnhll.networks.synapse import Synapse
from snnhll.rules.layerwise import put_gradient
from snnhll.rules.requirements import fully_connected, integrate_and_fire, no_dropout, plain_weights
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, Rule, correct


class EqPropRule(Rule):
    """beta: β, how strongly the label nudges the output. scale: initial weights, relative to the network's own."""

    gradient: ClassVar[bool] = False

    def __init__(
        self, network: Network, make_optimizer: MakeOptimizer, beta: Positive = 1.0, scale: Positive = 0.5
    ) -> None:
        super().__init__(network)
        fully_connected(network, "eqprop")
        plain_weights(network, "eqprop", "has no statistics of a batch in its energy")
        no_dropout(network, "eqprop")
        for block in network.blocks:
            integrate_and_fire(block, "eqprop")
        self.beta = beta
        self.optimizers = [make_optimizer(network.parameters())]
        with torch.no_grad():
            for block in network.blocks:
                block.synapse.weight.mul_(scale)

    @torch.no_grad()
    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        coded = self.network.encode(images)
        phases = Coupled(self.network, coded)
        free = phases.settle()
        wanted = F.one_hot(labels, self.network.classes).to(free[-1].dtype)
        nudged = phases.settle(self.beta, wanted)
        self.learn(free, nudged)
        self.optimizers[0].step()
        return {"readout/error": (free[-1] - wanted).square().sum(1).mean(), "correct": correct(free[-1], labels)}

    def learn(self, free: list[Tensor], nudged: list[Tensor]) -> None:
        """Put the contrast of the two phases, rates [B, n] from the input up, into the gradients."""
        per_sample = 1 / (self.beta * len(free[0]))
        for i, (weight, bias) in enumerate(connections(self.network), 1):
            contrast = nudged[i].t() @ nudged[i - 1] - free[i].t() @ free[i - 1]
            put_gradient(weight, -per_sample * contrast)
            put_gradient(bias, -per_sample * (nudged[i] - free[i]).sum(0))

    @property
    def ways_back(self) -> list[int]:
        return [weight.numel() for weight, _ in connections(self.network)[1:]]

    @property
    def classifier(self) -> None:
        return None  # feedback takes part in it

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        rates = Coupled(self.network, self.network.encode(images)).settle()
        hidden = rates[1:-1]
        return Outcome(Inference(rates[-1], hidden, [*rates[:-1], *rates[2:]], hidden), [None] * len(hidden))


class Coupled:
    """The network as a relaxing system: membranes and last spikes of every layer, the output included."""

    def __init__(self, network: Network, coded: Tensor) -> None:
        self.network, self.coded = network, coded.flatten(2).to(network.readout.weight.dtype)
        sizes = [weight.shape[0] for weight, _ in connections(network)]
        own = [integrate_and_fire(block, "eqprop") for block in network.blocks]
        self.thresholds = [*own, own[-1]]  # the output's is that of the last block
        self.membranes = [self.coded.new_zeros(coded.shape[1], n) for n in sizes]
        self.spikes = [torch.zeros_like(v) for v in self.membranes]

    def settle(self, beta: float = 0.0, wanted: Tensor | None = None) -> list[Tensor]:
        """Run one phase. Returns the rates of input, blocks and output, [B, n] each, over its second half."""
        steps = self.network.steps
        counts = [torch.zeros_like(self.coded[0]), *(torch.zeros_like(s) for s in self.spikes)]
        for t in range(steps):
            x = self.coded[t % len(self.coded)]
            self._step(x, beta, wanted)
            if t >= steps // 2:
                counts = [n + s for n, s in zip(counts, [x, *self.spikes], strict=True)]
        return [n / (steps - steps // 2) for n in counts]

    def _step(self, x: Tensor, beta: float, wanted: Tensor | None) -> None:
        net, last = self.network, len(self.spikes) - 1
        weights = [weight for weight, _ in connections(net)]
        for i in range(last + 1):
            if i < last:
                current = net.blocks[i].current(x.unsqueeze(0))[0] + self.spikes[i + 1] @ weights[i + 1]
            else:
                current = net.classify(x)
                if wanted is not None:
                    current = current + beta * (wanted - self.spikes[i])
            u, v_th = self.membranes[i] + current, self.thresholds[i]
            x = self.spikes[i] = (u >= v_th).to(u.dtype)
            # bounded, or a phase would begin with the surplus of the last one
            self.membranes[i] = (u - v_th * x).clamp(-2 * v_th, 2 * v_th)


def connections(network: Network) -> Sequence[tuple[Tensor, Tensor | None]]:
    """Return weights and biases from the first block to the readout."""
    layers: list[Synapse | nn.Linear] = [*(block.synapse for block in network.blocks), network.readout]
    return [(layer.weight, layer.bias) for layer in layers]
