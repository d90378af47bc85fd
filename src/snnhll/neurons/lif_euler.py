"""Leaky integrate-and-fire by its differential equation (2-11), in explicit Euler steps (2-14), with refractory period.

    V[t] = V[t-1] + Δt/τ (-(V[t-1] - V_rest) + R I[t])     (2-14)
    s[t] = H(V[t] - V_th), and V[t] = V_reset where s[t]   (2-15)

for `refractory` after a spike the potential stays at V_reset, whatever the current. Under a constant current the
interval between two spikes is refractory + τ ln((R I + V_rest - V_reset) / (R I + V_rest - V_th)) in the limit of short
steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.build import NonNegative, Positive
from snnhll.errors import UserError
from snnhll.neurons.neuron import Neuron, State
from snnhll.surrogates.surrogate import Surrogate, spike


class EulerLIF(Neuron):
    """tau, dt, refractory: in one unit of time, a time step of the network lasting dt. v_rest, v_th, v_reset:
    potentials. resistance: R.

    State: V and the number of steps that are still refractory. Raises UserError when dt >= 2 tau, where Euler steps
    grow without bound, when the reset is not below the threshold, and when the refractory period holds no whole number
    of steps.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        tau: Positive = 2.0,
        dt: Positive = 1.0,
        v_rest: float = 0.0,
        v_th: float = 1.0,
        v_reset: float = 0.0,
        resistance: Positive = 1.0,
        refractory: NonNegative = 0.0,
    ) -> None:
        super().__init__(surrogate)
        if dt >= 2 * tau:
            raise UserError(f"neuron.dt: {dt:g} is an unstable step for tau = {tau:g}; it must be below {2 * tau:g}.")
        if v_reset >= v_th:
            raise UserError(f"neuron.v_reset: {v_reset:g} is not below the threshold v_th = {v_th:g}.")
        self.share, self.resistance = dt / tau, resistance
        self.v_rest, self.v_th, self.v_reset = v_rest, v_th, v_reset
        self.pause = round(refractory / dt)
        if abs(self.pause * dt - refractory) > 1e-6 * refractory:
            raise UserError(f"neuron.refractory: {refractory:g} is no whole number of steps of neuron.dt = {dt:g}.")

    @property
    def threshold(self) -> float:
        return self.v_th

    def start(self, current: Tensor) -> State:
        return torch.full_like(current, self.v_rest), torch.zeros_like(current)

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        v, paused = state
        moved = v + self.share * (self.v_rest - v + self.resistance * current)
        v = torch.where(paused > 0, self.v_reset, moved)
        s = spike(v - self.v_th, self.surrogate)
        fired = s.detach()
        return s, (v * (1 - fired) + self.v_reset * fired, (paused - 1).clamp(min=0) + self.pause * fired), v
