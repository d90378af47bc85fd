"""The neuron of Hodgkin and Huxley (1952), with the constants of their squid axon, at rest at -65 mV.

    C dv/dt = I - g_Na m³ h (v - E_Na) - g_K n⁴ (v - E_K) - g_L (v - E_L)      (2-1)..(2-4)
    dx/dt = α_x(v) (1 - x) - β_x(v) x,   x = m, n, h                           (2-5)..(2-7)

mV, ms, µA/cm², mS/cm², µF/cm². Each equation is linear in its own variable, dx/dt = (x_inf - x)/τ, and is integrated by
exponential Euler, x <- x_inf + (x - x_inf) exp(-Δt/τ), with the other variables held: stable at any step, accurate at
short ones.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from snnhll.build import NonNegative, Positive, Range
from snnhll.neurons.biophysical import Biophysical
from snnhll.neurons.neuron import State
from snnhll.surrogates.surrogate import Surrogate

Rates = tuple[Tensor, Tensor]


class HodgkinHuxley(Biophysical):
    """g_na, g_k, g_l: conductances. e_na, e_k, e_l: reversal potentials. capacitance: C. dt: at most 0.1 ms, beyond
    which spikes lose their shape. duration, gain: see Biophysical.

    State: v, m, h, n. It starts at the potential where no current flows. A spike is an upward crossing of 0 mV.
    """

    v_th: ClassVar[float] = 0.0
    scale: ClassVar[float] = 65.0
    current_unit: ClassVar[str] = "µA/cm²"

    def __init__(
        self,
        surrogate: Surrogate,
        g_na: NonNegative = 120.0,
        g_k: NonNegative = 36.0,
        g_l: Positive = 0.3,
        e_na: float = 50.0,
        e_k: float = -77.0,
        e_l: float = -54.387,
        capacitance: Positive = 1.0,
        dt: Annotated[float, Range(0, 0.1, open_low=True)] = 0.05,
        duration: Positive = 3.0,
        gain: Positive = 20.0,
    ) -> None:
        super().__init__(surrogate, dt, duration, gain)
        self.conductances, self.reversals = (g_na, g_k, g_l), (e_na, e_k, e_l)
        self.capacitance = capacitance
        self.rest = self._resting_potential()

    def start(self, current: Tensor) -> State:
        v = torch.full_like(current, self.rest)
        return (v, *(alpha / (alpha + beta) for alpha, beta in gates(v)))

    def advance(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        v, *open_shares = state
        x = [_relax(x, *rates, self.dt) for x, rates in zip(open_shares, gates(v), strict=True)]
        total, pull = self._conductance(*x)
        settled = (pull + current) / total
        v = settled + (v - settled) * torch.exp(-self.dt * total / self.capacitance)
        return v, (v, *x)

    def _conductance(self, m: Tensor, h: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ g and Σ g E of the three channels."""
        g_na, g_k, g_l = self.conductances
        e_na, e_k, e_l = self.reversals
        sodium, potassium = g_na * m * m * m * h, g_k * n**4
        return sodium + potassium + g_l, sodium * e_na + potassium * e_k + g_l * e_l

    def _resting_potential(self) -> float:
        """Return the lowest potential at which no current flows with gates settled, to 0.001 mV."""
        v = torch.linspace(-120, 50, 170001, dtype=torch.float64)
        total, pull = self._conductance(*(alpha / (alpha + beta) for alpha, beta in gates(v)))
        outward = v * total - pull > 0
        return float(v[int(outward.int().argmax())])


def gates(v: Tensor) -> tuple[Rates, Rates, Rates]:
    """Return (α, β) of m, h and n at potentials v in mV, per ms (Hodgkin & Huxley 1952, equations 12, 13, 20-24)."""
    m = _linoid(v + 40), 4 * torch.exp(-(v + 65) / 18)
    h = 0.07 * torch.exp(-(v + 65) / 20), torch.sigmoid((v + 35) / 10)
    n = 0.1 * _linoid(v + 55), 0.125 * torch.exp(-(v + 65) / 80)
    return m, h, n


def _linoid(x: Tensor) -> Tensor:
    """0.1 x / (1 - exp(-x/10)), and its limit 1 at x = 0."""
    y = torch.where(x.abs() < 1e-5, torch.full_like(x, 1e-5), x) / 10
    return y / -torch.expm1(-y)


def _relax(x: Tensor, alpha: Tensor, beta: Tensor, dt: float) -> Tensor:
    """Return x after dt of dx/dt = α (1 - x) - β x at constant rates."""
    settled = alpha / (alpha + beta)
    return settled + (x - settled) * torch.exp(-dt * (alpha + beta))
