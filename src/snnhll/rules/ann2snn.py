"""Conversion of a trained analog network to a spiking one, by threshold balancing (2-22; Rueckauer et al. 2017).

    ANN    a^l = relu(W^l a^{l-1} + b^l), trained by backpropagation
    SNN    W^l scale^{l-1} / scale^l v_th,    b^l / scale^l v_th

so that the rate of an integrate-and-fire neuron, which is its input current over v_th as long as that lies in [0, 1],
is a^l / scale^l. scale^l is a percentile of the activations of layer l, their maximum at 100 (Diehl et al. 2015):
larger ones are cut off, but the others need fewer steps to be told apart. Soft reset keeps what exceeds the threshold.
shift adds half a spike over the T steps, which turns the rounding down of rates into rounding (Deng & Gu 2021).

Training sees no spikes. The network is converted whenever the rule is put into evaluation mode. Maximum pooling of
spikes is not that of rates; nets without it convert better.
"""

from __future__ import annotations

import copy
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import Range
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.requirements import alike_at_every_step, integrate_and_fire
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct, descend

FOLLOW = 0.05  # how fast the scales follow those of the batches


class ANN2SNNRule(Rule):
    """`ann` learns; `network` is made of it. percentile: of the activations, which becomes a rate of 1."""

    gradient: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        percentile: Annotated[float, Range(0, 100, open_low=True)] = 99.9,
        shift: bool = True,
    ) -> None:
        super().__init__(network.requires_grad_(False))
        alike_at_every_step(network, "ann2snn")
        for block in network.blocks:
            integrate_and_fire(block, "ann2snn")
        self.ann = copy.deepcopy(network).requires_grad_(True)
        self.percentile, self.shift = percentile, shift
        self.scales: Tensor
        self.register_buffer("scales", torch.ones(len(network.blocks)))
        self.optimizers = [make_optimizer(self.ann.parameters())]

    @property
    def trained(self) -> Network:
        return self.ann

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        x = rate_of(self.ann.encode(images))
        reached = []
        for block in self.ann.blocks:
            a = block.current(x.unsqueeze(0)).relu()
            reached.append(top(a.detach(), self.percentile))
            x = block.transmit(a, block.gate(a[0].detach()))[0]
        self.scales.lerp_(torch.stack(reached).to(self.scales.dtype), FOLLOW)
        logits = self.ann.classify(x)
        loss = F.cross_entropy(logits, labels)
        descend(self.optimizers[0], loss)
        return {"readout/pred": loss.detach(), "correct": correct(logits, labels)}

    def train(self, mode: bool = True) -> ANN2SNNRule:
        super().train(mode)
        if not mode:
            self.convert()
        return self

    @torch.no_grad()
    def convert(self) -> None:
        """Write the weights of the ANN, balanced, into the network."""
        self.network.load_state_dict(self.ann.state_dict())
        received = torch.ones((), device=self.scales.device)
        for block, scale in zip(self.network.blocks, self.scales, strict=True):
            v_th = integrate_and_fire(block, "ann2snn")
            out = v_th / scale.clamp(min=1e-6)
            half = v_th / (2 * self.network.steps) if self.shift else 0.0
            if block.norm is not None:
                block.synapse.weight.mul_(received)
                block.norm.gamma.mul_(out)
                block.norm.beta.mul_(out).add_(half)
            else:
                assert block.synapse.bias is not None
                factor = block.synapse.weight if block.synapse.gain is None else block.synapse.gain
                factor.mul_(received * out)
                block.synapse.bias.mul_(out).add_(half)
            received = scale
        self.network.readout.weight.mul_(received)


def top(activations: Tensor, percentile: float) -> Tensor:
    """Return the value that `percentile` % of the activations do not exceed, a scalar tensor."""
    flat = activations.flatten()
    rank = max(1, round(percentile / 100 * flat.numel()))
    return flat.kthvalue(rank).values
