"""The Hodgkin-Huxley neuron: its textbook behaviour, and an integrator that shares nothing with it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from snnhll.neurons.hodgkin_huxley import HodgkinHuxley, gates
from snnhll.surrogates.exponential import Exponential


def neuron(dt: float = 0.05) -> HodgkinHuxley:
    return HodgkinHuxley(Exponential(), dt=dt)


def spike_times(*pieces: tuple[float, float]) -> list[float]:
    return neuron().record(pieces).spike_times


CURRENTS = (2.2, 2.5, 6.1, 6.4, 6.5, 10.0, 20.0, 40.0)  # µA/cm²


@pytest.fixture(scope="module")
def lasting() -> dict[float, list[float]]:
    """Spike times of 300 ms under each of CURRENTS."""
    current, made = torch.tensor(CURRENTS, dtype=torch.float64), neuron()
    state = made.start(current)
    times: list[list[float]] = [[] for _ in CURRENTS]
    for t in range(6000):
        before, (v, state) = state[0], made.advance(current, state)
        for i in ((before < 0) & (v >= 0)).nonzero().flatten().tolist():
            times[i].append(0.05 * t)
    return dict(zip(CURRENTS, times, strict=True))


def rate(times: list[float]) -> float:
    """Firing rate in Hz after the first 150 ms; 0 when it has stopped."""
    late = [t for t in times if t > 150]
    return 1000 / (late[-1] - late[-2]) if len(late) > 1 else 0.0


def slope(_: float, state: np.ndarray, current: float) -> list[float]:
    """The equations of Hodgkin & Huxley 1952 as they stand there, for potentials with rest at -65 mV."""
    v, m, h, n = state
    am, bm = 0.1 * (v + 40) / (1 - math.exp(-(v + 40) / 10)), 4 * math.exp(-(v + 65) / 18)
    ah, bh = 0.07 * math.exp(-(v + 65) / 20), 1 / (1 + math.exp(-(v + 35) / 10))
    an, bn = 0.01 * (v + 55) / (1 - math.exp(-(v + 55) / 10)), 0.125 * math.exp(-(v + 65) / 80)
    ionic = 120 * m**3 * h * (v - 50) + 36 * n**4 * (v + 77) + 0.3 * (v + 54.387)
    return [current - ionic, am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n]


def test_rests_at_the_textbook_potential() -> None:
    """Hodgkin & Huxley 1952 measure potentials from rest, here put at -65 mV."""
    recording = neuron().record(((50.0, 0.0),))
    start, *_, end = recording.membrane.tolist()
    assert start == pytest.approx(-65, abs=0.05)
    assert end == pytest.approx(start, abs=0.01)


def test_gates_at_rest_are_the_textbook_ones() -> None:
    """Hodgkin & Huxley 1952: m = 0.053, h = 0.596, n = 0.318 at rest."""
    settled = [float(a / (a + b)) for a, b in gates(torch.tensor(-65.0, dtype=torch.float64))]
    assert settled == pytest.approx([0.053, 0.596, 0.318], abs=5e-4)


def test_rates_are_finite_at_their_removable_singularities() -> None:
    v = torch.tensor([-40.0, -40 + 1e-7, -55.0, -55 - 1e-7], dtype=torch.float64)
    (m, _), _, (n, _) = gates(v)
    assert m[:2].tolist() == pytest.approx([1, 1], rel=1e-5)
    assert n[2:].tolist() == pytest.approx([0.1, 0.1], rel=1e-5)


def test_follows_an_independent_integrator() -> None:
    """scipy's implicit solver on the equations written out: the same spike, and the same course of the potential."""
    fine = HodgkinHuxley(Exponential(), dt=0.005, duration=0.005)
    recording = fine.record(((20.0, 10.0),))
    start = [fine.rest, *(float(a / (a + b)) for a, b in gates(torch.tensor(fine.rest, dtype=torch.float64)))]
    exact = solve_ivp(slope, (0, 20), start, "LSODA", recording.times + 0.005, args=(10.0,), rtol=1e-8, atol=1e-8)
    difference = np.abs(exact.y[0][: len(recording.membrane)] - recording.membrane.numpy()[: exact.y.shape[1]])
    assert np.median(difference) < 0.05
    crossings = [t for t, a, b in zip(exact.t, exact.y[0], exact.y[0][1:], strict=False) if a < 0 <= b]
    assert recording.spike_times == pytest.approx(crossings, abs=0.03)


def test_threshold_currents(lasting: dict[float, list[float]]) -> None:
    """A lasting current fires once from 2.3 and for ever from 6.3 µA/cm² on (Rinzel & Miller 1980: I_v = 6.26)."""
    assert lasting[2.2] == []
    assert len(lasting[2.5]) == 1
    assert rate(lasting[6.1]) == 0
    assert rate(lasting[6.4]) > 50


def test_firing_rate_against_current(lasting: dict[float, list[float]]) -> None:
    """Class II excitability: firing starts near 50 Hz, not at 0, and rises slowly; 68 Hz at 10 µA/cm²."""
    rates = [rate(lasting[current]) for current in (6.5, 10.0, 20.0, 40.0)]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(55, abs=2)
    assert rates[1] == pytest.approx(68.3, abs=1)
    assert rates[2] == pytest.approx(86.6, abs=1.5)


def test_refractory_period() -> None:
    """A pulse that fires the neuron does not fire it again within 10 ms, and does after 15 ms."""

    def pulses(gap: float) -> int:
        return len(spike_times((10, 0), (1, 20), (gap - 1, 0), (1, 20), (20, 0)))

    assert [pulses(gap) for gap in (3, 6, 10)] == [1, 1, 1]
    assert [pulses(gap) for gap in (15, 20)] == [2, 2]


def test_every_spike_counts_once_in_the_steps_of_a_network() -> None:
    coarse = HodgkinHuxley(Exponential(), duration=1.0, gain=10.0)
    spikes = coarse(torch.ones(1, 1, 1, dtype=torch.float64), 100).flatten()
    fired = [math.floor(t) for t in spike_times((100, 10))]
    assert spikes.nonzero().flatten().tolist() == fired
    assert all(later - earlier > 10 for earlier, later in pairwise(fired))
