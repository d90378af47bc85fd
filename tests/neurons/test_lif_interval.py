"""Interspike intervals of LIF neurons under a constant current, against their closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snnhll.errors import UserError
from snnhll.neurons.lif import LIF
from snnhll.neurons.lif_euler import EulerLIF
from snnhll.surrogates.exponential import Exponential


def intervals(neuron: LIF | EulerLIF, current: float, steps: int) -> list[int]:
    """Steps from one spike to the next; the first counts from the start."""
    spikes = neuron(torch.tensor([[[current]]], dtype=torch.float64), steps).flatten()
    fired = [-1, *spikes.nonzero().flatten().tolist()]
    return [later - earlier for earlier, later in pairwise(fired)]


@given(decay=st.floats(0.3, 0.97), current=st.floats(0.1, 2), v_th=st.floats(0.3, 2))
def test_lif_with_hard_reset_fires_at_the_closed_form_interval(decay: float, current: float, v_th: float) -> None:
    """u_n = I (1 - λ^n)/(1 - λ) after a reset to 0 reaches v_th first at n = ln(1 - v_th (1 - λ)/I)/ln λ, up."""
    missing = 1 - v_th * (1 - decay) / current
    assume(abs(missing) > 1e-9)
    if missing < 0:  # below rheobase
        assert intervals(LIF(Exponential(), decay, v_th, "hard"), current, 50) == []
        return
    exact = math.log(missing) / math.log(decay)
    assume(exact < 30 and (exact < 0.999 or abs(exact - round(exact)) > 1e-6))
    found = intervals(LIF(Exponential(), decay, v_th, "hard"), current, 100)
    assert set(found) == {max(math.ceil(exact), 1)}


@settings(max_examples=40)
@given(
    tau=st.floats(1, 20),
    current=st.floats(1.05, 4),
    v_rest=st.floats(-1, 0.5),
    drop=st.floats(0.1, 1),
    refractory=st.integers(0, 7),
)
def test_euler_steps_take_the_interval_of_the_difference_equation(
    tau: float, current: float, v_rest: float, drop: float, refractory: int
) -> None:
    """V_n - V_inf = (V_reset - V_inf) (1 - 1/τ)^n with V_inf = V_rest + R I; `refractory` steps are added."""
    v_th, v_reset, resistance = 1.0, 1.0 - drop, 2.0
    v_inf = v_rest + resistance * current
    assume(v_inf > v_th + 0.01)
    ratio = (v_inf - v_th) / (v_inf - v_reset)
    exact = math.log(ratio) / math.log(1 - 1 / tau) if tau > 1 else 1.0
    assume(abs(exact - round(exact)) > 1e-6)
    neuron = EulerLIF(Exponential(), tau, 1.0, v_rest, v_th, v_reset, resistance, refractory)
    assert set(intervals(neuron, current, 220)[1:]) == {math.ceil(exact) + refractory}


def test_short_euler_steps_reach_the_interval_of_the_differential_equation() -> None:
    """Gerstner & Kistler 2002, equation 4.8: T = t_ref + τ ln((R I - u_reset)/(R I - θ)), at rest 0.

    τ = 10 ms, R I = 1.5, θ = 1, t_ref = 3 ms: 13.986 ms. The error shrinks with the step.
    """
    exact = 3 + 10 * math.log(1.5 / 0.5)
    errors = []
    for dt in (0.5, 0.05, 0.005):
        neuron = EulerLIF(Exponential(), tau=10.0, dt=dt, refractory=3.0)
        times = neuron.record(((50 / dt, 1.5),)).spike_times
        errors.append(abs((times[2] - times[1]) * dt - exact))
        assert errors[-1] <= 1.5 * dt
    assert errors[2] < errors[0] / 10


def test_nothing_moves_the_potential_while_refractory() -> None:
    neuron = EulerLIF(Exponential(), tau=1.0, v_reset=-0.5, refractory=2.0)
    membrane, spikes = neuron.trace(torch.full((6, 1, 1), 5.0), 6)
    assert spikes.flatten().tolist() == [1, 0, 0, 1, 0, 0]
    assert membrane.flatten().tolist() == [5.0, -0.5, -0.5, 5.0, -0.5, -0.5]


def test_an_unstable_step_is_refused_with_its_limit() -> None:
    with pytest.raises(UserError, match=r"neuron.dt: 5 is an unstable step for tau = 2; it must be below 4"):
        EulerLIF(Exponential(), tau=2.0, dt=5.0)
    with pytest.raises(UserError, match=r"neuron.v_reset: 1 is not below the threshold"):
        EulerLIF(Exponential(), v_reset=1.0)
