"""Izhikevich's neuron: its equations by hand, and the firing patterns it was published with.

2003: Simple model of spiking neurons, IEEE Trans. Neural Networks 14(6). 2004: Which model to use for cortical spiking
neurons?, IEEE Trans. Neural Networks 15(5).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from snnhll.neurons.izhikevich import PATTERNS, Izhikevich
from snnhll.surrogates.exponential import Exponential

PRESETS: list[Any] = list(PATTERNS)


def spike_times(preset: Any) -> list[float]:
    return Izhikevich(Exponential(), preset).record().spike_times


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize("preset", PRESETS)
def test_equations_by_hand(preset: Any) -> None:
    neuron = Izhikevich(Exponential(), preset)
    a, b, c, d, pieces = PATTERNS[preset]
    v, u, t = neuron.rest, b * neuron.rest, 0.0
    expected = []
    for duration, current in pieces:
        for _ in range(round(duration / 0.25)):
            v += 0.25 * (0.04 * v * v + 5 * v + 140 - u + current)
            u += 0.25 * a * (b * v - u)
            if v >= 30:
                expected.append(t)
                v, u = c, u + d
            t += 0.25
    assert spike_times(preset) == expected
    assert expected, "the current shows the pattern"


@pytest.mark.parametrize("preset", PRESETS)
def test_rests_without_current(preset: Any) -> None:
    """It starts where 0.04 v² + 5 v + 140 = u = b v, a fixed point of its steps, so nothing but rounding moves it."""
    recording = Izhikevich(Exponential(), preset).record(((100, 0.0),))
    assert recording.spike_times == []
    assert recording.membrane.tolist() == pytest.approx([recording.membrane[0].item()] * 400, abs=1e-9)


def test_resting_potentials_are_the_published_ones() -> None:
    """2003, section II: between -70 and -60 mV, depending on b. 2004, figure 1: v(0) = -70 for b = 0.2."""
    assert Izhikevich(Exponential(), b=0.2).rest == pytest.approx(-70)
    rests = [Izhikevich(Exponential(), preset).rest for preset in PRESETS]
    assert min(rests) == pytest.approx(-70)
    assert max(rests) <= -60


def test_regular_spiking_adapts() -> None:
    """2003, RS: a few spikes at short intervals, then longer ones."""
    first, *later = gaps(spike_times("regular_spiking"))
    assert len(later) >= 3
    assert min(later) > 2 * first


def test_tonic_spiking_lasts_as_long_as_the_current() -> None:
    """2004, (A): a train of spikes from the onset of the current, at 10 ms, to its end, at 100 ms."""
    times = spike_times("tonic_spiking")
    between = gaps(times)
    assert 10 < times[0] < 10 + between[0]
    assert times[-1] + between[-1] > 100


def test_the_frequency_of_an_adapting_neuron_decreases() -> None:
    """2004, (F): every interval is longer than the one before it."""
    between = gaps(spike_times("spike_frequency_adaptation"))
    assert len(between) >= 4
    assert all(earlier < later for earlier, later in pairwise(between))


@pytest.mark.parametrize("preset", ["intrinsically_bursting", "mixed_mode"])
def test_a_burst_then_single_spikes(preset: Any) -> None:
    """2003, IB; 2004, (E): a stereotypical burst at the onset, then repetitive single spikes."""
    between = gaps(spike_times(preset))
    assert max(between[:2]) < 6
    assert min(between[3:]) > 25


@pytest.mark.parametrize("preset", ["chattering", "tonic_bursting"])
def test_bursts_that_repeat(preset: Any) -> None:
    """2003, CH: stereotypical bursts of closely spaced spikes, interburst frequency up to 40 Hz; 2004, (C)."""
    times = spike_times(preset)
    between = gaps(times)
    pauses = [gap for gap in between if gap > 20]
    assert len(pauses) >= 3
    assert 4 * max(gap for gap in between if gap <= 20) < min(pauses), "spikes are either close or far apart"
    firsts = [times[0], *(later for earlier, later in pairwise(times) if later - earlier > 20)]
    assert 1000 / min(gaps(firsts)) < 40
    sizes = [sum(start <= t < end for t in times) for start, end in pairwise(firsts)]
    assert len(set(sizes[1:])) == 1, "after the first, which starts from rest, every burst has as many spikes"


def test_fast_spiking_does_not_adapt() -> None:
    """2003, FS: periodic trains of high frequency, practically without slowing down.

    A spike is seen up to a step late and the reset drops what v has overshot, so on a grid of dt the intervals of a
    periodic train differ by a few steps, 1 ms at the usual dt. At 0.01 ms that leaves 0.02 of 7.4 ms.
    """
    fine = Izhikevich(Exponential(), "fast_spiking", dt=0.01, duration=0.01).record(((100.0, 10.0),))
    between = gaps(fine.spike_times)
    assert len(between) > 3 * len(gaps([t for t in spike_times("regular_spiking") if t < 120]))
    assert max(between[4:]) - min(between[4:]) < 2.5 * 0.01


def test_low_threshold_spiking_fires_fast_and_adapts_with_a_low_threshold() -> None:
    """2003, LTS: high-frequency trains with spike-frequency adaptation; low firing thresholds, by b = 0.25."""
    between = gaps(spike_times("low_threshold_spiking"))
    assert between[0] < between[-1]
    weak = ((20.0, 0.0), (180.0, 1.0))
    assert Izhikevich(Exponential(), "low_threshold_spiking").record(weak).spike_times
    assert not Izhikevich(Exponential(), "regular_spiking").record(weak).spike_times


def test_thalamo_cortical_has_two_regimes() -> None:
    """2003, TC: tonic when depolarised; a rebound burst when released from hyperpolarisation (at 200 ms here)."""
    times = spike_times("thalamo_cortical")
    assert len([t for t in times if 20 < t < 100]) >= 3
    assert not [t for t in times if 100 < t < 200]
    assert len([t for t in times if t > 200]) >= 2


def test_resonator_is_switched_to_sustained_firing_by_a_pulse() -> None:
    """2003, RZ: subthreshold oscillations, and between them and repetitive spiking a switch by a brief stimulus."""
    times = spike_times("resonator")
    assert not [t for t in times if t < 100]
    assert len([t for t in times if t > 100]) >= 3


@pytest.mark.parametrize(("preset", "spikes"), [("phasic_spiking", 1), ("spike_latency", 1), ("rebound_spike", 1)])
def test_a_single_spike(preset: Any, spikes: int) -> None:
    """2004, (B): one spike at the onset of a lasting current; (I): one spike, delayed; (M): one after inhibition."""
    assert len(spike_times(preset)) == spikes


def test_latency_follows_the_stimulus() -> None:
    """2004, (I): a brief pulse fires the neuron only after it has ended."""
    (time,) = spike_times("spike_latency")
    assert time > 13 + 2


@pytest.mark.parametrize(("preset", "onset"), [("phasic_bursting", 20), ("rebound_burst", 25)])
def test_a_single_burst(preset: Any, onset: float) -> None:
    """2004, (D) and (N): one burst, after the onset of current or the end of inhibition, and nothing more."""
    times = spike_times(preset)
    assert len(times) >= 4
    assert onset < times[0]
    assert max(gaps(times)) < 10
    assert times[-1] < 100


def test_subthreshold_oscillations_follow_a_spike() -> None:
    """2004, (J): after the spike the potential swings around rest and dies down."""
    neuron = Izhikevich(Exponential(), "subthreshold_oscillations")
    recording = neuron.record()
    assert len(recording.spike_times) == 1
    after = recording.membrane[recording.times > recording.spike_times[0] + 5] - neuron.rest
    crossings = ((after[1:] > 0) != (after[:-1] > 0)).nonzero().flatten().tolist()
    assert len(crossings) >= 3
    swings = [after[a:b].abs().max().item() for a, b in pairwise(crossings)]
    assert swings[1] < swings[0]


def test_parameters_replace_those_of_the_preset() -> None:
    mine = Izhikevich(Exponential(), "regular_spiking", c=-50.0, d=2.0)
    assert mine.record().spike_times == spike_times("chattering")


def test_a_time_step_of_the_network_holds_the_spikes_of_its_integration_steps() -> None:
    neuron = Izhikevich(Exponential(), "chattering", duration=2.0, gain=10.0)
    spikes = neuron(torch.ones(1, 1, 1, dtype=torch.float64), 50).flatten()
    fine = neuron.record(((100.0, 10.0),)).spikes.view(50, 8)
    assert torch.equal(spikes, fine.amax(1))
