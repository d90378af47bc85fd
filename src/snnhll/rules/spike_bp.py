"""Spike-based backpropagation (Lee et al. 2020): errors pass a neuron at its spikes, with a correction for its leak.

    ∂s[t]/∂I[t'] = κ/v_th    where s[t] = 1 and t' is t or lies between t and the spike before it; else 0
    κ = 1[n > 0] + ln(λ) ŝ[T]/n,    ŝ[T] = Σ_t λ^{T-t} s[t],    n = Σ_t s[t]               one κ a neuron and sample

Between two spikes a neuron counts as an integrator without leak, whose slope is 1/v_th; κ makes up for what leaked, in
the mean (λ is the decay of the membrane). Neurons that never fired pass no error. The readout accumulates without
firing, and its error is that of the mean over time.

Here it is softmax cross-entropy, as under all rules; in the paper the squared error.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.networks.block import Block
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.neurons.lif import ONE_STEP
from snnhll.ops import LIFSettings
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.feedback import silent
from snnhll.rules.rule import MakeOptimizer


class SpikeBPRule(BPTTRule):
    """Backpropagation through the times of spikes."""

    residual: ClassVar[bool] = False
    gradient: ClassVar[bool] = False

    def __init__(self, network: Network, make_optimizer: MakeOptimizer) -> None:
        super().__init__(network, make_optimizer)
        self.settings = [leaky(block) for block in network.blocks]

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of the network, with the gradient above."""
        net = self.network
        x = net.encode(images)
        for block, settings in zip(net.blocks, self.settings, strict=True):
            current = block.current(x)
            with torch.no_grad():
                spikes = block.neuron(current, net.steps)
            passed = spikes + silent(since_last_spike(current, spikes) * leak_factor(spikes, settings))
            x = block.transmit(passed, block.gate(spikes[0])).to(net.precision)
        return net.classify(rate_of(x))


def since_last_spike(current: Tensor, spikes: Tensor) -> Tensor:
    """Return, [T, B, ...], where a neuron fires, what it has received since it fired last; elsewhere 0.

    current: [S, B, ...], S = T or 1. spikes: [T, B, ...].
    """
    received = torch.zeros_like(spikes[0])
    found = []
    for t, s in enumerate(spikes):
        received = received + current[t % len(current)]
        found.append(s * received)
        received = (1 - s) * received
    return torch.stack(found)


def leak_factor(spikes: Tensor, settings: LIFSettings) -> Tensor:
    """Return κ / v_th of every neuron, [B, ...], for its spikes [T, B, ...]."""
    filtered = torch.zeros_like(spikes[0])
    for s in spikes:
        filtered = settings.decay * filtered + s
    count = spikes.sum(0)
    return ((count > 0) + math.log(settings.decay) * filtered / count.clamp(min=1)) / settings.v_th


def leaky(block: Block) -> LIFSettings:
    """Return decay and threshold of a layer. Raises UserError for neurons without, or with too strong a leak."""
    settings = block.neuron.compiled
    if settings is None:
        raise UserError("neuron: spike_bp needs lif or if with a fixed decay.")
    if settings.decay <= ONE_STEP:
        raise UserError(
            f"neuron.decay: under spike_bp a decay of {settings.decay:.3g} would take away or turn the error at a late "
            f"spike (1 + ln decay is not above 0); use one above 0.37, such as neuron.decay=0.9."
        )
    return settings
