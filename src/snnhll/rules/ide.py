"""Implicit differentiation at the equilibrium of a spiking network with feedback (Xiao et al. 2021, IDE).

Integrate-and-fire layers, the last one connected back to the first by weights B. Over many steps rates settle where

    r = f(r, x),    f = σ(W^N ... σ(W^1 x̄ + b^1 + B r) ... + b^N) at v_th = 1,    σ(z) = clip(z, 0, 1)

for the rate r of the last layer and the mean input x̄. The gradient of the loss is that at the equilibrium, whatever way
led there: with g = dL/dr,

    v = g + (∂f/∂r)ᵀ v,    dL/dθ = (∂f/∂θ)ᵀ v

v by fixed-point iteration, f at the rates that the spikes had. Nothing is stored over time. In nets of convolutions B
is one too, on maps enlarged to those of the first layer. The network alone, as `snnhll.load` returns it, runs without
its feedback.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.build import NonNegative, PositiveInt
from snnhll.errors import UserError
from snnhll.networks.network import Inference, Network
from snnhll.networks.rates import rate_of
from snnhll.networks.spec import Layer
from snnhll.neurons.neuron import State
from snnhll.rules.requirements import integrate_and_fire, no_batch_statistics, no_dropout
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, Rule, correct


class IDERule(Rule):
    """feedback: spectral norm of the initial B, of a convolution that of its kernels as one matrix; 0 for none, which
    stays so. iterations: for the equilibrium of v."""

    gradient: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        feedback: NonNegative = 0.5,
        iterations: PositiveInt = 20,
    ) -> None:
        super().__init__(network)
        no_batch_statistics(network, "ide", "has no statistics of a batch at its equilibrium")
        no_dropout(network, "ide")
        self.thresholds = [integrate_and_fire(block, "ide") for block in network.blocks]
        self.iterations = iterations
        self.feedback = way_back(network.blocks[0].layer, network.blocks[-1].layer)
        if any(block.layer.pool > 1 for block in network.blocks):
            raise UserError("architecture.spec: ide has no equilibrium of maximum pooling; use strides, as in 16C3s2.")
        with torch.no_grad():
            self.feedback.weight *= feedback / torch.linalg.matrix_norm(self.feedback.weight.flatten(1), 2)
        self.feedback.requires_grad_(feedback > 0)  # else it would grow from zero
        self.optimizers = [make_optimizer([*network.parameters(), *self.feedback.parameters()])]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        coded = self.network.encode(images)
        with torch.no_grad():
            settled = self.settle(coded)[-1]
        r = settled.detach().requires_grad_()
        logits = self.network.classify(r)
        loss = F.cross_entropy(logits, labels)
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        assert r.grad is not None
        self.differentiate(rate_of(coded), settled, r.grad)
        self.optimizers[0].step()
        return {"readout/pred": loss.detach(), "correct": correct(logits, labels)}

    def settle(self, coded: Tensor) -> list[Tensor]:
        """Run the spiking network with its feedback on an input [S, B, ...]; returns the rates of its blocks."""
        blocks, steps = self.network.blocks, self.network.steps
        states: list[State | None] = [None] * len(blocks)
        counts: list[Tensor | float] = [0.0] * len(blocks)
        back: Tensor | float = 0.0
        for t in range(steps):
            x = coded[t % len(coded)]
            for i, block in enumerate(blocks):
                current = block.current(x.unsqueeze(0))[0] + (back if i == 0 else 0.0)
                x, states[i], _ = block.neuron.step(current, states[i] or block.neuron.start(current))
                counts[i] = counts[i] + x
            back = self.fed_back(x)
        return [torch.as_tensor(count) / steps for count in counts]

    def fed_back(self, x: Tensor) -> Tensor:
        """Return B x: what the first layer receives of spikes or rates [B, ...] of the last."""
        return self.feedback(x if x.dim() == 2 else F.interpolate(x, self.network.blocks[0].layer.out_shape[1:]))

    def equilibrium_map(self, mean_input: Tensor, r: Tensor) -> Tensor:
        """f(r, x): the rate of the last block, [B, ...], that its rate r would cause through feedback."""
        a = mean_input
        for i, (block, v_th) in enumerate(zip(self.network.blocks, self.thresholds, strict=True)):
            current = block.current(a.unsqueeze(0))[0] + (self.fed_back(r) if i == 0 else 0.0)
            a = (current / v_th).clamp(0, 1)
        return a

    def differentiate(self, mean_input: Tensor, settled: Tensor, slope: Tensor) -> None:
        """Add the gradients at the equilibrium for dL/dr = slope, [B, ...]."""
        r = settled.detach().requires_grad_()
        mapped = self.equilibrium_map(mean_input, r)
        v = slope
        for _ in range(self.iterations):
            v = slope + torch.autograd.grad(mapped, r, v, retain_graph=True)[0]
        learned = [*(p for block in self.network.blocks for p in block.parameters()), self.feedback.weight]
        torch.autograd.backward(mapped, v, inputs=[p for p in learned if p.requires_grad])

    @property
    def ways_back(self) -> list[int]:
        positions = prod(self.network.blocks[0].layer.out_shape[1:]) if self.feedback.weight.requires_grad else 0
        return [self.feedback.weight.numel() * positions]

    @property
    def classifier(self) -> None:
        return None  # feedback takes part in it

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        coded = self.network.encode(images)
        rates = self.settle(coded)
        inputs = [rate_of(coded), *rates, rates[-1]]
        return Outcome(Inference(self.network.classify(rates[-1]), rates, inputs, rates), [None] * len(rates))


def way_back(first: Layer, last: Layer) -> nn.Linear | nn.Conv2d:
    """Return B, from the last layer to the first. Raises UserError where one has maps and the other none."""
    if first.kind == "linear":
        return nn.Linear(prod(last.out_shape), first.units, bias=False)
    if last.kind == "linear":
        raise UserError(
            "architecture.spec: ide feeds the last layer back to the first, here a vector to maps; end in a "
            "convolution too, as in 16C3-32C3s2-FCn."
        )
    return nn.Conv2d(last.units, first.units, 3, padding=1, bias=False)
