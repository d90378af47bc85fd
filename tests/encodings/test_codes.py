"""Every code carries the image: it can be read back, and the spikes have the property the code is named after."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.assemble import option
from snnhll.config import compose, options
from snnhll.encodings.delta import Delta, fade
from snnhll.encodings.encoding import Encoding
from snnhll.encodings.first_spike import FirstSpike
from snnhll.encodings.latency import Latency
from snnhll.encodings.phase import Phase
from snnhll.encodings.poisson import Poisson
from snnhll.encodings.population import Population
from snnhll.encodings.rate import Rate
from snnhll.encodings.temporal_switch import TemporalSwitch
from snnhll.errors import UserError

STEPS = 10
PIXELS = torch.linspace(0, 1, 101, dtype=torch.float64).view(1, 1, 1, -1)
CODES = [name for name in options("encoding") if name != "frames"]  # which is for event data
SPIKING = [name for name in CODES if name != "direct"]


def code_of(name: str) -> Encoding:
    encoding: Encoding = option(compose([f"encoding={name}"]), "encoding")
    return encoding


def images() -> Tensor:
    return torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("steps", [5, 10])
def test_shapes_and_values(name: str, steps: int) -> None:
    encoding = code_of(name)
    coded = encoding(images(), steps)
    assert coded.shape[0] in (1, steps)
    assert coded.shape[1:] == (3, *encoding.coded_shape((2, 5, 4)))
    assert coded.dtype == torch.float64
    assert encoding.decode(coded).shape == images().shape
    if name != "direct":
        assert set(coded.unique().tolist()) == {0.0, 1.0}


# The largest error of a pixel that is read back from ten steps.
ERRORS = {
    "rate": 1 / 20,  # half a spike of ten
    "latency": 1 / 18,  # half a step of nine
    "first_spike": 1 / 18,
    "phase": 1 / 8,  # half a step of four
    "population": 0.06,
    "delta": 1 / 5,  # one event of five
    "temporal_switch": 1 / 20,  # half a step of ten
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_the_image_can_be_read_back(name: str) -> None:
    encoding = code_of(name)
    error = (encoding.decode(encoding(PIXELS, STEPS)) - PIXELS).abs().max().item()
    assert error <= ERRORS[name] + 1e-9
    finer = (encoding.decode(encoding(PIXELS, 60)) - PIXELS).abs().max().item()
    assert finer < error or name == "phase", "more steps carry more"


@pytest.mark.parametrize("name", [name for name in ERRORS if name not in ("population", "delta")])
def test_brighter_pixels_are_never_read_as_darker(name: str) -> None:
    encoding = code_of(name)
    assert (encoding.decode(encoding(PIXELS, STEPS)).flatten().diff() >= -1e-9).all()


def test_direct_is_the_image() -> None:
    encoding, signed = code_of("direct"), images() - 3
    assert torch.equal(encoding.decode(encoding(signed, STEPS)), signed)


@pytest.mark.parametrize("rate", [1.0, 0.4])
def test_poisson_rates_lie_in_their_confidence_interval(rate: float) -> None:
    """400 pixels a value, 50 steps: the mean is within 4.5 standard errors of rate times pixel, for every value."""
    values = torch.tensor([0.0, 0.05, 0.3, 0.5, 0.9, 1.0], dtype=torch.float64)
    torch.manual_seed(0)
    spikes = Poisson(rate).train()(values.view(1, 1, -1, 1).expand(1, 1, -1, 400), 50)
    wanted = rate * values
    error = (wanted * (1 - wanted) / (50 * 400)).sqrt()
    assert ((spikes.mean((0, 1, 2, 4)) - wanted).abs() <= 4.5 * error).all()
    lag = (spikes[1:] * spikes[:-1]).mean((0, 1, 2, 4))
    assert lag.tolist() == pytest.approx(wanted.square().tolist(), abs=0.02), "steps are independent"
    torch.testing.assert_close(Poisson(rate).decode(spikes), spikes.mean(0) / rate)


def test_rate_spikes_are_evenly_spaced() -> None:
    spikes = Rate()(torch.tensor([0.25, 0.5], dtype=torch.float64).view(1, 1, 1, 2), 8)[:, 0, 0, 0]
    assert spikes.sum(0).tolist() == [2, 4]
    assert spikes[:, 0].nonzero().flatten().diff().tolist() == [4]
    assert spikes[:, 1].nonzero().flatten().diff().tolist() == [2, 2, 2]


def test_latency_is_the_interval_between_spikes() -> None:
    for pixel, column in zip(PIXELS.flatten().tolist(), Latency()(PIXELS, STEPS)[:, 0, 0, 0].T, strict=True):
        times = column.nonzero().flatten()
        interval = 1 + round((1 - pixel) * 9)
        assert times.diff().tolist() == [interval] * max(len(times) - 1, 0)
        assert times[:1].tolist() == ([interval - 1] if pixel > 0 else [])


def test_first_spikes_come_once_and_the_brighter_first() -> None:
    spikes = FirstSpike()(PIXELS, STEPS)[:, 0, 0, 0]
    assert spikes.sum(0).tolist() == [0.0] + [1.0] * 100
    assert (spikes.argmax(0)[1:].diff() <= 0).all()
    assert spikes.argmax(0)[100] == 0


def test_the_spikes_of_a_phase_code_repeat_every_period() -> None:
    spikes = Phase(4)(PIXELS, 12)[:, 0, 0, 0]
    assert torch.equal(spikes[:4], spikes[4:8])
    assert torch.equal(spikes[:4], spikes[8:])
    assert spikes[:4].sum(0).tolist() == [0.0] + [1.0] * 100


def test_a_switch_turns_on_once_and_off_once_after_a_time_in_proportion_to_the_pixel() -> None:
    current = TemporalSwitch()(PIXELS, 100)[:, 0, 0, 0]
    spikes = torch.nn.functional.pad(current, (0, 0, 1, 1)).diff(dim=0)  # +1 on, -1 off, [101, pixels]
    assert spikes.clamp(min=0).sum(0).tolist() == [0.0] + [1.0] * 100
    assert spikes.clamp(max=0).sum(0).tolist() == [0.0] + [-1.0] * 100
    between = spikes.argmin(0) - spikes.argmax(0)
    assert between.tolist() == [round(100 * p) for p in PIXELS.flatten().tolist()]


def test_the_neuron_that_likes_a_pixel_best_fires_most() -> None:
    encoding = Population(neurons=6)
    rates = encoding(torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).view(1, 1, 1, -1), 20).mean(0)[0, :, 0]
    assert rates.argmax(0).tolist() == [0, 1, 2, 3, 4, 5]
    two = encoding(torch.rand(1, 2, 3, 3), 4)
    assert two.shape == (4, 1, 12, 3, 3)


def test_delta_events_follow_the_signal() -> None:
    encoding, steps = Delta(0.3), 20
    coded = encoding(PIXELS, steps)[:, 0, :, 0]
    on, off = coded[:, 0], coded[:, 1]
    level = 0.3 * (on - off).cumsum(0)
    signal = torch.tensor(fade(steps), dtype=torch.float64).view(-1, 1) * PIXELS.view(1, -1)
    assert ((level - signal).abs() < 0.3).all()
    assert not on[steps // 2 :].any(), "brighter only while it is faded in"
    assert not off[: steps // 2].any()
    assert max(fade(steps)) == 1
    assert fade(steps)[-1] == 0


@pytest.mark.parametrize("name", SPIKING)
@pytest.mark.parametrize("wrong", [-0.1, 1.01, float("nan")])
def test_pixels_outside_0_1_are_refused(name: str, wrong: float) -> None:
    pixels = images()
    pixels[0, 0, 0, 0] = wrong
    with pytest.raises(UserError, match=r"this code needs them in \[0, 1\]"):
        code_of(name)(pixels, STEPS)


def test_what_does_not_fit_into_the_steps_is_refused() -> None:
    with pytest.raises(UserError, match=r"encoding.period: 5 steps do not fit into trainer.steps=4"):
        Phase(5)(images(), 4)
    with pytest.raises(UserError, match=r"encoding.threshold: 0.1 is less than .* 0.2 at trainer.steps=10"):
        Delta(0.1)(images(), 10)


@pytest.mark.parametrize("name", SPIKING)
@pytest.mark.parametrize("spec", ["64-6-n", "4C3-P2-FCn"])
def test_a_network_learns_from_every_code(name: str, spec: str, make_rule: Any, make_batch: Any) -> None:
    rule = make_rule(f"encoding={name}", f"architecture.spec={spec}", "loss=pred_recon", "trainer.steps=6")
    before = rule.network.blocks[0].synapse.weight.clone()
    rule.step(*make_batch(dtype=torch.float32))
    assert (rule.network.blocks[0].synapse.weight != before).any()


@pytest.mark.parametrize(("wrong", "said"), [(1.5, "from 0 to 1.5"), (-0.25, "from -0.25 to 1"), (math.nan, "nan")])
def test_pixels_noted_on_an_accelerator_are_refused_when_asked(wrong: float, said: str) -> None:
    code, good = Poisson(), torch.linspace(0, 1, 16).view(1, 1, 4, 4)
    bad = good.clone()
    bad[0, 0, 1, 1] = wrong
    for images in (good, bad, good):
        code.note(images)
    with pytest.raises(UserError, match=said):
        code.check()
    code.check()  # of what came after: nothing
