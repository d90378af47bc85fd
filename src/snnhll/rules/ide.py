"""Implicit differentiation at the equilibrium of a spiking network with feedback (Xiao et al. 2021, IDE).

Integrate-and-fire layers, the last one connected back to the first by weights B. Over many steps rates settle where

    r = f(r, x),    f = σ(W^N ... σ(W^1 x̄ + b^1 + B r) ... + b^N) at v_th = 1,    σ(z) = clip(z, 0, 1)

for the rate r of the last layer and the mean input x̄. The gradient of the loss is that at the equilibrium, whatever way
led there: with g = dL/dr,

    v = g + (∂f/∂r)ᵀ v,    dL/dθ = (∂f/∂θ)ᵀ v

v by fixed-point iteration, f at the rates that the spikes had. Nothing is stored over time. The network alone, as
`snnhll.load` returns it, runs without its feedback.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.build import NonNegative, PositiveInt
from snnhll.networks.network import Inference, Network
from snnhll.neurons.neuron import State
from snnhll.rules.requirements import fully_connected, integrate_and_fire, plain_weights
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, Rule, correct


class IDERule(Rule):
    """feedback: spectral norm of the initial B; 0 leaves it at zero. iterations: for the equilibrium of v."""

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        feedback: NonNegative = 0.5,
        iterations: PositiveInt = 20,
    ) -> None:
        super().__init__(network)
        fully_connected(network, "ide")
        plain_weights(network, "ide", "has no statistics of a batch at its equilibrium")
        self.thresholds = [integrate_and_fire(block, "ide") for block in network.blocks]
        self.iterations = iterations
        last, first = (prod(network.blocks[i].layer.out_shape) for i in (-1, 0))
        self.feedback = nn.Linear(last, first, bias=False)
        with torch.no_grad():
            self.feedback.weight *= feedback / torch.linalg.matrix_norm(self.feedback.weight, 2)
        self.optimizers = [make_optimizer([*network.parameters(), *self.feedback.parameters()])]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        coded = self.network.encode(images).flatten(2)
        with torch.no_grad():
            settled = self.settle(coded)[-1]
        r = settled.detach().requires_grad_()
        logits = self.network.classify(r)
        loss = F.cross_entropy(logits, labels)
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        assert r.grad is not None
        self.differentiate(coded.mean(0), settled, r.grad)
        self.optimizers[0].step()
        return {"readout/pred": loss.detach(), "correct": correct(logits, labels)}

    def settle(self, coded: Tensor) -> list[Tensor]:
        """Run the spiking network with its feedback on an input [S, B, n]; returns the rates of its blocks."""
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
            back = self.feedback(x)
        return [torch.as_tensor(count) / steps for count in counts]

    def equilibrium_map(self, mean_input: Tensor, r: Tensor) -> Tensor:
        """f(r, x): the rate of the last block, [B, n], that its rate r would cause through feedback."""
        a = mean_input
        for i, (block, v_th) in enumerate(zip(self.network.blocks, self.thresholds, strict=True)):
            current = block.current(a.unsqueeze(0))[0] + (self.feedback(r) if i == 0 else 0.0)
            a = (current / v_th).clamp(0, 1)
        return a

    def differentiate(self, mean_input: Tensor, settled: Tensor, slope: Tensor) -> None:
        """Add the gradients at the equilibrium for dL/dr = slope, [B, n]."""
        r = settled.detach().requires_grad_()
        mapped = self.equilibrium_map(mean_input, r)
        v = slope
        for _ in range(self.iterations):
            v = slope + torch.autograd.grad(mapped, r, v, retain_graph=True)[0]
        learned = [*(p for block in self.network.blocks for p in block.parameters()), self.feedback.weight]
        torch.autograd.backward(mapped, v, inputs=learned)

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        coded = self.network.encode(images).flatten(2)
        rates = self.settle(coded)
        inputs = [coded.mean(0), *rates]
        return Outcome(Inference(self.network.classify(rates[-1]), rates, inputs), [None] * len(rates))
