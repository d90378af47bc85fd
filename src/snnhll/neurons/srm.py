"""Spike response model (SRM0; Gerstner 1995; Gerstner & Kistler 2002, section 4.2), in discrete time.

    u[t] = Σ_k ε[k] I[t-k] + Σ_f η[t-f],    s[t] = H(u[t] - v_th)
    ε[k] = Σ_{j=0..k} λ_m^(k-j) λ_s^j,      η[k] = -η0 λ_r^k   for k >= 1

f runs over the neuron's own earlier spikes, λ_x = exp(-1/tau_x). ε is the response to a pulse of current, a synapse's
exponential seen through the membrane's; η the after-potential of a spike. Both are sums of exponentials, so they are
carried forward instead of convolved:

    i[t] = λ_s i[t-1] + I[t],   m[t] = λ_m m[t-1] + i[t],   r[t] = λ_r (r[t-1] - η0 s[t-1]),   u[t] = m[t] + r[t]

With tau_synapse -> 0, tau_refractory = tau_membrane and η0 = v_th this is the LIF neuron with soft reset.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snnhll.build import NonNegative, Positive
from snnhll.neurons.neuron import Neuron, State
from snnhll.surrogates.surrogate import Surrogate, spike


class SRM(Neuron):
    """tau_membrane, tau_synapse, tau_refractory: time constants in time steps. v_th: threshold. eta: η0, the depth of
    the after-potential. detach_reset: gradients through time skip the after-potential."""

    def __init__(
        self,
        surrogate: Surrogate,
        tau_membrane: Positive = 1.0,
        tau_synapse: Positive = 0.5,
        tau_refractory: Positive = 1.0,
        v_th: Positive = 1.0,
        eta: NonNegative = 1.0,
        detach_reset: bool = True,
    ) -> None:
        super().__init__(surrogate)
        taus = (tau_membrane, tau_synapse, tau_refractory)
        self.membrane, self.synapse, self.refractory = (math.exp(-1 / tau) for tau in taus)
        self.v_th, self.eta, self.detach_reset = v_th, eta, detach_reset

    @property
    def threshold(self) -> float:
        return self.v_th

    def start(self, current: Tensor) -> State:
        return torch.zeros_like(current), torch.zeros_like(current), torch.zeros_like(current)

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        m, i, r = state
        i = self.synapse * i + current
        m = self.membrane * m + i
        u = m + r
        s = spike(u - self.v_th, self.surrogate)
        fired = s.detach() if self.detach_reset else s
        return s, (m, i, self.refractory * (r - self.eta * fired)), u
