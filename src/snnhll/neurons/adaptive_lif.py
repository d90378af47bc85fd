"""LIF neurons whose threshold rises with every spike and falls back slowly (ALIF; Bellec et al. 2018, 2020).

    u[t] = λ (u[t-1] - v_th s[t-1]) + I[t]
    a[t] = ρ a[t-1] + s[t-1],    ρ = exp(-1/tau_adaptation)
    s[t] = H(u[t] - v_th - β a[t])

Under a constant current the neuron fires fast at first and then slower: spike-frequency adaptation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snnhll.build import NonNegative, Positive
from snnhll.neurons.lif import ONE_STEP, Decay
from snnhll.neurons.neuron import Neuron, State
from snnhll.surrogates.surrogate import Surrogate, spike


class AdaptiveLIF(Neuron):
    """decay: λ per time step. v_th: threshold at rest. beta: what a spike adds to it. tau_adaptation: time steps in
    which that falls to 1/e. detach_reset: gradients through time skip reset and adaptation."""

    def __init__(
        self,
        surrogate: Surrogate,
        decay: Decay = ONE_STEP,
        v_th: Positive = 1.0,
        beta: NonNegative = 0.2,
        tau_adaptation: Positive = 5.0,
        detach_reset: bool = True,
    ) -> None:
        super().__init__(surrogate)
        self.decay, self.v_th, self.beta = decay, v_th, beta
        self.keep = math.exp(-1 / tau_adaptation)
        self.detach_reset = detach_reset

    def start(self, current: Tensor) -> State:
        return torch.zeros_like(current), torch.zeros_like(current)

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        rest, a = state
        u = self.decay * rest + current
        s = spike(u - self.v_th - self.beta * a, self.surrogate)
        fired = s.detach() if self.detach_reset else s
        return s, (u - self.v_th * fired, self.keep * a + fired), u
