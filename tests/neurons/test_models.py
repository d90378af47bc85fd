"""What holds for every neuron of the configuration: shapes, a fresh start, gradients, use in a network."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.assemble import option
from snnhll.config import compose, options
from snnhll.errors import UserError
from snnhll.neurons.adaptive_lif import AdaptiveLIF
from snnhll.neurons.biophysical import Biophysical
from snnhll.neurons.lif import LIF
from snnhll.neurons.neuron import Neuron
from snnhll.neurons.srm import SRM
from snnhll.surrogates.exponential import Exponential

STEPS = 6
TRAINED = [name for name in options("neuron") if name != "competitive"]  # which has no surrogate derivative


def neuron_of(*overrides: str) -> Neuron:
    neuron: Neuron = option(compose(overrides), "neuron", surrogate=Exponential())
    return neuron.double()


def currents(steps: int = STEPS) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(steps, 4, 3, generator=draw, dtype=torch.float64) + 0.8


@pytest.mark.parametrize("name", options("neuron"))
def test_every_neuron_fires_starts_fresh_and_takes_a_constant_current(name: str) -> None:
    neuron, x = neuron_of(f"neuron={name}"), currents()
    spikes = neuron(x, STEPS)
    assert spikes.shape == x.shape
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(spikes, neuron(x, STEPS))
    assert torch.equal(neuron.trace(x, STEPS)[1], spikes)
    assert torch.equal(neuron(x[:1], STEPS), neuron(x[:1].expand(STEPS, -1, -1), STEPS))
    assert neuron.record().spikes.sum() > 0


@pytest.mark.parametrize("name", options("neuron"))
def test_a_current_of_the_wrong_length_is_refused(name: str) -> None:
    for run in (neuron_of(f"neuron={name}"), neuron_of(f"neuron={name}").trace):
        with pytest.raises(UserError, match=r"input of shape \[4, 4, 3\] for 6 steps"):
            run(currents(4), STEPS)


@torch.no_grad()
def can_fire(neuron: Neuron, x: Tensor, step: int) -> Tensor:
    """Whether a spike could be counted at `step`: not where the potential of a spike in millivolts, which lasts longer
    than a time step, is still above the threshold from the step before."""
    state = neuron.start(x[0])
    for current in x[:step]:
        _, state, _ = neuron.step(current, state)
    return state[0] < neuron.v_th if isinstance(neuron, Biophysical) else torch.ones_like(x[step], dtype=torch.bool)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_reach_the_same_step_and_through_time_the_earlier_ones(name: str) -> None:
    neuron = neuron_of(f"neuron={name}")
    x = (0.3 * currents()).requires_grad_()  # below threshold: no reset in between
    (local,) = torch.autograd.grad(neuron(x, STEPS)[-1].sum(), x)
    assert torch.equal(local[-1] != 0, can_fire(neuron, x, STEPS - 1))
    assert not local[:-1].any()
    (through,) = torch.autograd.grad(neuron(x, STEPS, through_time=True)[-1].sum(), x)
    assert (through[-2] != 0).any()
    assert through.isfinite().all()


def test_srm_is_the_sum_of_its_kernels() -> None:
    """Gerstner & Kistler 2002, section 4.2: u[t] = Σ ε[k] I[t-k] + Σ_f η[t-f], the sums written out."""
    neuron, steps = SRM(Exponential(), 3.0, 1.5, 2.0, v_th=1.2, eta=0.7), 30
    x = torch.rand(steps, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    membrane, spikes = neuron.trace(x.view(-1, 1, 1), steps)
    m, s, r = math.exp(-1 / 3), math.exp(-1 / 1.5), math.exp(-1 / 2)
    epsilon = [(m ** (k + 1) - s ** (k + 1)) / (m - s) for k in range(steps)]
    fired: list[int] = []
    for t in range(steps):
        u = sum(epsilon[k] * x[t - k].item() for k in range(t + 1)) - sum(0.7 * r ** (t - f) for f in fired)
        assert membrane[t].item() == pytest.approx(u, rel=1e-9)
        if u >= 1.2:
            fired.append(t)
    assert spikes.flatten().nonzero().flatten().tolist() == fired
    assert 3 < len(fired) < steps


def test_srm_without_synapse_is_lif() -> None:
    lif, srm = LIF(Exponential(), 0.6, 0.9), SRM(Exponential(), 1, 1e-3, 1, 0.9, 0.9)
    srm.membrane = srm.refractory = 0.6
    assert torch.equal(srm(currents(), STEPS), lif(currents(), STEPS))


def test_the_threshold_of_adaptive_lif_follows_its_spikes() -> None:
    """Bellec et al. 2018: A[t] = v_th + β a[t], a the low-pass filtered spikes; by hand for one neuron."""
    neuron = AdaptiveLIF(Exponential(), 0.8, 1.0, beta=0.5, tau_adaptation=10.0)
    found = neuron(torch.full((40, 1, 1), 0.6, dtype=torch.float64), 40).flatten().tolist()
    u = a = 0.0
    expected = []
    for _ in range(40):
        u = 0.8 * u + 0.6
        s = float(u >= 1 + 0.5 * a)
        u, a = u - s, a * math.exp(-1 / 10) + s
        expected.append(s)
    assert found == expected
    fired = [t for t, s in enumerate(found) if s]
    gaps = [b - a for a, b in pairwise(fired)]
    assert gaps[0] < gaps[-1], "fires slower as it adapts"
    assert torch.equal(
        AdaptiveLIF(Exponential(), 0.8, beta=0)(currents(), STEPS), LIF(Exponential(), 0.8)(currents(), STEPS)
    )


SMALL = (
    "architecture.spec=64-6-n",
    "architecture.norm=batch",
    "architecture.dropout=0",
    "loss=sim",
    "trainer.steps=3",
)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(
    ("rule", "update"), [("local", "rate"), ("local", "accumulate"), ("local", "final"), ("bptt", "final")]
)
def test_every_neuron_learns_in_a_network(name: str, rule: str, update: str, make_rule: Any, make_batch: Any) -> None:
    made = make_rule(f"neuron={name}", f"rule={rule}", *SMALL, update=update)
    images, labels = make_batch(dtype=torch.float32)
    before = made.network.blocks[0].synapse.weight.clone()
    made.step(images, labels)
    after = made.network.blocks[0].synapse.weight
    assert after.isfinite().all()
    assert (after != before).any()


@pytest.mark.parametrize("rule", ["local", "bptt", "dfa"])
def test_rules_that_follow_a_gradient_refuse_neurons_without_one(rule: str, make_rule: Any) -> None:
    with pytest.raises(UserError, match="neuron: these neurons have no surrogate derivative"):
        make_rule("neuron=competitive", f"rule={rule}", "architecture.spec=64-6-n")


@pytest.mark.parametrize("rule", ["eprop", "ottt", "three_factor"])
def test_rules_that_need_a_plain_leak_say_so(rule: str, make_rule: Any, make_batch: Any) -> None:
    loss = "hsic" if rule == "three_factor" else "pred"
    overrides = ("neuron=srm", f"rule={rule}", f"loss={loss}", "architecture.spec=64-6-n", "architecture.norm=none")

    def learn() -> None:
        make_rule(*overrides).step(*make_batch(dtype=torch.float32))

    with pytest.raises(UserError, match=r"neuron: .*lif"):
        learn()


MISTAKES = {
    "neuron=lif_euler neuron.tau=-2": r"neuron.tau: -2.0 is out of range, expected a number > 0",
    "neuron=srm neuron.tau_synapse=0": r"neuron.tau_synapse: 0.0 is out of range",
    "neuron=adaptive_lif neuron.tau_adaptation=-1": r"neuron.tau_adaptation: -1.0 is out of range",
    "neuron=izhikevich neuron.dt=1": r"neuron.dt: 1 ms is an unstable step .*; it must be below 0.909 ms",
    "neuron=izhikevich neuron.a=-0.1": r"neuron.a: -0.1, but 1/a is a time constant",
    "neuron=izhikevich neuron.b=0.5": r"neuron.b: with 0.5 there is no resting potential",
    "neuron=izhikevich neuron.duration=0.6": r"neuron.duration: 0.6 ms is no whole number of steps of neuron.dt = 0.25",
    "neuron=izhikevich neuron.preset=chattring": r"neuron.preset: 'chattring' is not an option. Did you mean",
    "neuron=hodgkin_huxley neuron.dt=0.5": r"neuron.dt: 0.5 is out of range, expected a number in \(0, 0.1\]",
}


@pytest.mark.parametrize("overrides", list(MISTAKES))
def test_mistakes_are_named(overrides: str) -> None:
    with pytest.raises(UserError, match=MISTAKES[overrides]):
        neuron_of(*overrides.split())
