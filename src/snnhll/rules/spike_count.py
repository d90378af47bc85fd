"""Spike-count rule (Wu et al. 2019, tandem learning): spikes forward, the gradient of an analog twin back.

    forward    n^l = spikes of integrate-and-fire neurons over T steps,    r^l = n^l / T
    coupled    a^l = clip(W^l r^{l-1} + b^l, 0, v_th) / v_th
    ∂L/∂r^{l-1} = W^lᵀ (∂L/∂r^l ⊙ ∂a^l),    ∂L/∂W^l = (∂L/∂r^l ⊙ ∂a^l) r^{l-1}ᵀ,    ∂a = 1/v_th inside the clip, else 0

Every layer of the analog net is fed with the counts that the spiking layer below really sent, so that rounding errors
do not pile up; the loss is that of the spiking net's own output. The gradient needs counts alone. The readout is
linear: it is its own twin.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.feedback import silent
from snnhll.rules.requirements import integrate_and_fire, no_batch_statistics
from snnhll.rules.rule import MakeOptimizer


class SpikeCountRule(BPTTRule):
    """The gradient of the coupled analog layers, at the spike counts."""

    residual: ClassVar[bool] = False
    gradient: ClassVar[bool] = False

    def __init__(self, network: Network, make_optimizer: MakeOptimizer) -> None:
        super().__init__(network, make_optimizer)
        no_batch_statistics(network, "spike_count", "has other statistics in a spiking layer than in its analog twin")
        self.thresholds = [integrate_and_fire(block, "spike_count") for block in network.blocks]

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of the spiking network, with the gradient of the analog one."""
        net = self.network
        x = net.encode(images)
        rate = rate_of(x)
        for block, v_th in zip(net.blocks, self.thresholds, strict=True):
            with torch.no_grad():
                spikes = block(x, net.steps)
                gate = block.gate(spikes[0])
                x = block.transmit(spikes, gate)
            analog = (block.current(rate.unsqueeze(0)) / v_th).clamp(0, 1)
            rate = rate_of(x) + silent(block.transmit(analog, gate)[0])
        return net.classify(rate)
