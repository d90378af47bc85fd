"""Target propagation (2-35..2-37) and difference target propagation (2-38, 2-39; Lee et al. 2015), on firing rates.

    TP     h̃^{l-1} = g_l(h̃^l)
    DTP    h̃^{l-1} = h^{l-1} + g_l(h̃^l) - g_l(h^l)
    every layer descends ||h^l - h̃^l||², its own input detached;  g_l descends ||g_l(f_l(h + ε)) - (h + ε)||²

h^l is the mean over time of what layer l sends, f_l the layer's response to constant rates, g_l its learned inverse,
ε Gaussian noise. At the top the target of the logits is one gradient step of the cross-entropy,
h̃^L = y - β (p - label), and g_L leads back from the logits: no forward weight is used backwards, as in (2-36). Lee et
al. begin one layer lower, with the transposed readout.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.build import NonNegative, Positive
from snnhll.networks.mode import evaluating
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.networks.spec import Layer
from snnhll.rules.pieces import in_pieces
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct, descend


class Inverse(nn.Module):
    """g: from what a layer sends, [B, ...], back to the rates that it received; a sigmoid of a transposed layer."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        size = (layer.units, layer.in_shape[0], layer.kernel, layer.kernel)
        if layer.kind == "linear":
            size = (prod(layer.in_shape), layer.units)  # type: ignore[assignment]
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(size)))
        self.bias = nn.Parameter(torch.zeros(prod(layer.in_shape) if layer.kind == "linear" else layer.in_shape[0]))

    def forward(self, h: Tensor) -> Tensor:
        layer = self.layer
        if layer.kind == "linear":
            return F.linear(h.flatten(1), self.weight, self.bias).sigmoid()
        if layer.pool > 1:
            h = F.interpolate(h, layer.out_shape[1:])
        rest = tuple((size - 1) % layer.stride for size in layer.in_shape[1:])
        return F.conv_transpose2d(h, self.weight, self.bias, layer.stride, layer.kernel // 2, rest).sigmoid()


class TargetRule(Rule):
    """difference: DTP, else TP. step_size: β of the target at the top. noise: standard deviation of ε."""

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        difference: bool = True,
        step_size: Positive = 1.0,
        noise: NonNegative = 0.1,
    ) -> None:
        super().__init__(network)
        self.difference, self.step_size, self.noise = difference, step_size, noise
        top = Layer("linear", (network.readout.in_features,), network.classes)
        layers = [*(block.layer for block in network.blocks[1:]), top]
        self.inverses: list[Inverse] = nn.ModuleList(Inverse(layer) for layer in layers)  # type: ignore[assignment]
        self.optimizers = [make_optimizer(network.parameters()), make_optimizer(self.inverse_parameters())]

    def inverse_parameters(self) -> list[nn.Parameter]:
        return [parameter for inverse in self.inverses for parameter in inverse.parameters()]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        pieces = in_pieces(self.network, images, through_time=True)
        rates = [rate_of(piece.sent) for piece in pieces]
        held = [rate.detach() for rate in rates]
        logits = self.network.classify(held[-1])
        targets = self.targets(held, logits.detach(), labels)
        prediction = F.cross_entropy(logits, labels)
        losses = [(r - t).square().sum() / len(labels) for r, t in zip(rates, targets, strict=True)]
        reconstruction = self.learn_inverses(held)  # first: the forward weights are still those of the targets
        descend(self.optimizers[0], torch.stack([prediction, *losses]).sum())
        metrics = {f"layer{i}/target": loss.detach() for i, loss in enumerate(losses, 1)}
        return metrics | reconstruction | {"readout/pred": prediction.detach(), "correct": correct(logits, labels)}

    @torch.no_grad()
    def targets(self, rates: list[Tensor], logits: Tensor, labels: Tensor) -> list[Tensor]:
        """Return the target of every block's rate [B, ...], from the top down."""
        wanted = F.one_hot(labels, self.network.classes)
        h, target = logits, logits - self.step_size * (logits.softmax(1) - wanted)
        found = []
        for rate, inverse in zip(reversed(rates), reversed(self.inverses), strict=True):
            back = inverse(target).view_as(rate)
            target = rate + back - inverse(h).view_as(rate) if self.difference else back
            h = rate
            found.append(target)
        return found[::-1]

    def learn_inverses(self, rates: list[Tensor]) -> Metrics:
        """Train every g_l to undo f_l around the rates [B, ...] of the layer below it."""
        losses = {}
        for i, (rate, inverse) in enumerate(zip(rates, self.inverses, strict=True), 2):
            noisy = rate + self.noise * torch.randn_like(rate)
            with torch.no_grad():
                response = self.respond(i - 1, noisy)
            losses[f"layer{i}/inverse"] = F.mse_loss(inverse(response).view_as(noisy), noisy)
        descend(self.optimizers[1], torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    def respond(self, i: int, rate: Tensor) -> Tensor:
        """Return f_i: what block i sends, or the readout's logits, for constant input rates [B, ...]."""
        if i == len(self.network.blocks):
            return self.network.classify(rate)
        block = self.network.blocks[i]
        with evaluating(block):  # normalisation by running statistics, which this pass leaves alone
            spikes = block(rate.to(self.network.precision).unsqueeze(0), self.network.steps)
            return rate_of(block.transmit(spikes, None))
