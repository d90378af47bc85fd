"""The LIF neuron: its equations by hand, its gradients, and the same spikes as the libraries people compare with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snnhll.neurons.integrate_and_fire import IF
from snnhll.neurons.lif import LIF
from snnhll.neurons.neuron import Neuron
from snnhll.surrogates.exponential import Exponential

STEPS = 10
RESETS = pytest.mark.parametrize("reset", ["soft", "hard"])


def currents(steps: int = STEPS, high: float = 3.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Currents [S, 16, 32], mostly positive."""
    draw = torch.Generator().manual_seed(0)
    return (torch.rand(steps, 16, 32, generator=draw, dtype=torch.float64) * high - 0.5).to(dtype)


def by_hand(
    current: list[float], decay: float, v_th: float, reset: str, v_reset: float
) -> tuple[list[float], list[float]]:
    """(3-1), (3-2) and (2-15) for one neuron: potentials at which it was compared with the threshold, and spikes."""
    potentials, spikes, u, s = [], [], 0.0, 0.0
    for i in current:
        rest = u - v_th * s if reset == "soft" else (v_reset if s else u)
        u = decay * rest + i
        s = 1.0 if u >= v_th else 0.0
        potentials.append(u)
        spikes.append(s)
    return potentials, spikes


@RESETS
@given(
    current=st.lists(st.floats(-4, 4), min_size=1, max_size=12),
    decay=st.floats(0.01, 1),
    v_th=st.floats(0.1, 3),
    below=st.floats(0.01, 2),
)
def test_equations_by_hand(reset: Any, current: list[float], decay: float, v_th: float, below: float) -> None:
    v_reset = v_th - below if reset == "hard" else 0.0
    neuron = LIF(Exponential(), decay, v_th, reset, v_reset)
    x = torch.tensor(current, dtype=torch.float64).view(-1, 1, 1)
    membranes, spikes = neuron.trace(x, len(current))
    potentials, fired = by_hand(current, decay, v_th, reset, v_reset)
    assert membranes.flatten().tolist() == pytest.approx(potentials, rel=1e-12, abs=1e-12)
    assert spikes.flatten().tolist() == fired
    assert neuron(x, len(current)).flatten().tolist() == fired


def test_fires_at_the_threshold_itself() -> None:
    x = torch.tensor([1.0, 1.0, math.nextafter(1, 0)], dtype=torch.float64).view(3, 1, 1)
    assert LIF(Exponential(), 0.5, 1.0)(x, 3).flatten().tolist() == [1, 1, 0]


def test_decay_acts_after_the_reset() -> None:
    """u = 3: after the spike 2 is left, of which the next step keeps half."""
    membranes, _ = LIF(Exponential(), 0.5, 1.0).trace(torch.tensor([[[3.0]], [[0.0]]]), 2)
    assert membranes.flatten().tolist() == [3.0, 1.0]


def test_default_decay_is_one_over_e() -> None:
    assert LIF(Exponential()).settings.decay == pytest.approx(math.exp(-1))


@RESETS
def test_if_is_lif_without_leak(reset: Any) -> None:
    x = currents()
    assert torch.equal(IF(Exponential(), 0.8, reset)(x, STEPS), LIF(Exponential(), 1.0, 0.8, reset)(x, STEPS))
    potential, spikes = IF(Exponential(), 100.0).trace(x, STEPS)
    assert spikes.sum() == 0
    torch.testing.assert_close(potential, x.cumsum(0))


@RESETS
@pytest.mark.parametrize("learnable", [False, True])
def test_constant_current_is_the_same_as_its_repetition(reset: Any, learnable: bool) -> None:
    neuron = LIF(Exponential(), 0.6, 1.0, reset, learnable_decay=learnable).double()
    x = currents(1)
    assert torch.equal(neuron(x, STEPS), neuron(x.expand(STEPS, -1, -1), STEPS))


def test_starts_fresh_with_every_call() -> None:
    neuron, x = LIF(Exponential(), 0.9, 1.0), currents()
    assert torch.equal(neuron(x, STEPS), neuron(x, STEPS))


@RESETS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_trace_and_steps_agree(reset: Any, dtype: torch.dtype) -> None:
    neuron, x = LIF(Exponential(), 0.6, 1.0, reset, 0.25 if reset == "hard" else 0.0), currents(dtype=dtype)
    _, traced = neuron.trace(x, STEPS)
    generic = Neuron.forward(neuron, x, STEPS)
    assert torch.equal(neuron(x, STEPS), traced)
    assert torch.equal(generic, traced)
    assert traced.dtype == dtype
    assert 0.05 < traced.mean() < 0.95


@RESETS
def test_learnable_decay_starts_where_it_is_told_and_gives_the_same_spikes(reset: Any) -> None:
    fixed = LIF(Exponential(), 0.6, 1.0, reset)
    learnable = LIF(Exponential(), 0.6, 1.0, reset, learnable_decay=True).double()
    assert decay_of(learnable) == pytest.approx(0.6, rel=1e-6)
    assert torch.equal(fixed(currents(), STEPS), learnable(currents(), STEPS))
    assert fixed.compiled == fixed.settings
    assert learnable.compiled is None
    assert [name for name, _ in learnable.named_parameters()] == ["decay_logit"]
    assert not list(fixed.parameters())


def decay_of(neuron: LIF) -> float:
    return neuron.decay.item() if isinstance(neuron.decay, Tensor) else neuron.decay


def gradient_by_hand(
    current: list[float], arriving: list[float], neuron: LIF, decay: float, through_time: bool
) -> tuple[list[float], float]:
    """dL/dI[t] and dL/dλ of Σ_t g[t] s[t], by forward-mode differentiation of the scalar recursion.

    For every input, and λ, the derivative of u is carried along; the surrogate takes the place of ds/du.
    """
    v_th, soft = neuron.settings.v_th, neuron.settings.reset == "soft"
    u = s = 0.0
    tangent = [0.0] * (len(current) + 1)  # du/dI[k], and last du/dλ
    s_tangent = [0.0] * (len(current) + 1)
    gradient = [0.0] * (len(current) + 1)
    for t, i in enumerate(current):
        rest = u - v_th * s if soft else u * (1 - s)
        for k in range(len(tangent)):
            fired = 0.0 if neuron.detach_reset else s_tangent[k]
            change = tangent[k] - v_th * fired if soft else tangent[k] * (1 - s) - u * fired
            carried = decay * change if through_time else 0.0
            tangent[k] = carried + (k == t) + (rest if k == len(current) else 0.0)
        u = decay * rest + i
        s = float(u >= v_th)
        for k in range(len(tangent)):
            s_tangent[k] = math.exp(-abs(u - v_th)) * tangent[k]
            gradient[k] += arriving[t] * s_tangent[k]
    return gradient[:-1], gradient[-1]


@RESETS
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("through_time", [True, False])
@pytest.mark.parametrize("learnable", [True, False])
def test_gradients_by_hand(reset: Any, detach_reset: bool, through_time: bool, learnable: bool) -> None:
    neuron = LIF(Exponential(), 0.6, 1.0, reset, learnable_decay=learnable, detach_reset=detach_reset).double()
    x = currents()[:, :1, :8].clone().requires_grad_()
    arriving = torch.randn(STEPS, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (neuron(x, STEPS, through_time)[:, 0] * arriving).sum().backward()
    decay, slope = decay_of(neuron), 0.0
    assert x.grad is not None
    for i in range(8):
        by_input, by_decay = gradient_by_hand(x[:, 0, i].tolist(), arriving[:, i].tolist(), neuron, decay, through_time)
        assert x.grad[:, 0, i].tolist() == pytest.approx(by_input, rel=1e-9, abs=1e-14)
        slope += by_decay
    if neuron.decay_logit is not None:
        assert neuron.decay_logit.grad is not None
        assert neuron.decay_logit.grad.item() == pytest.approx(slope * decay * (1 - decay), rel=1e-9)


def test_gradient_of_a_constant_current_is_the_sum_over_time() -> None:
    neuron, x = LIF(Exponential(), 0.6, 1.0), currents(1)
    constant, repeated = x.clone().requires_grad_(), x.repeat(STEPS, 1, 1).requires_grad_()
    weights = currents()
    (neuron(constant, STEPS, True) * weights).sum().backward()
    (neuron(repeated, STEPS, True) * weights).sum().backward()
    assert constant.grad is not None
    assert repeated.grad is not None
    torch.testing.assert_close(constant.grad[0], repeated.grad.sum(0))


# The libraries. λ = 1 - 1/τ in SpikingJelly and β in snnTorch; both let the decay act after the reset when told so.


@RESETS
@pytest.mark.parametrize("decay", [0.5, math.exp(-1), 0.8])
def test_same_spikes_as_spikingjelly(reset: Any, decay: float) -> None:
    """SpikingJelly: decay_input=False adds the current undecayed; v_reset=None resets softly, 0 hard.

    Its hard reset to another potential also decays towards that potential, which (2-15) does not: no match there.
    """
    library = pytest.importorskip("spikingjelly.activation_based.neuron")
    theirs = library.LIFNode(
        tau=1 / (1 - decay),
        decay_input=False,
        v_threshold=0.9,
        v_reset=None if reset == "soft" else 0.0,
        step_mode="m",
    )
    ours = LIF(Exponential(), decay, 0.9, reset)
    x = currents()
    expected = theirs(x)
    assert 0.2 < expected.mean() < 0.8
    assert torch.equal(ours(x, STEPS), expected)


@RESETS
@pytest.mark.parametrize("decay", [0.5, math.exp(-1), 0.8])
def test_same_spikes_as_snntorch(reset: Any, decay: float) -> None:
    """snnTorch: reset_delay=False resets in the step of the spike, so that the decay acts on what is left.

    With reset_mechanism="subtract" it subtracts once more, undecayed, where the rest is still above the threshold.
    Currents are kept below v_th (2 - λ), so that no rest is. It fires above the threshold, we at or above: H(0) = 1.
    """
    library = pytest.importorskip("snntorch")
    v_th = 0.9
    x = currents(high=0.5 + v_th * (2 - decay))
    theirs = library.Leaky(
        beta=decay,
        threshold=v_th,
        reset_mechanism="subtract" if reset == "soft" else "zero",
        reset_delay=False,
    ).double()
    membrane, fired = torch.zeros_like(x[0]), []
    for current in x:
        spikes, membrane = theirs(current, membrane)
        fired.append(spikes)
    expected = torch.stack(fired)
    assert 0.1 < expected.mean() < 0.8
    assert torch.equal(LIF(Exponential(), decay, v_th, reset)(x, STEPS), expected)
