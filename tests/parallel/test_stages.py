"""Layers as pipeline stages: bit for bit the numbers of one process, and a cut that is the best there is."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from members import CPU, Case, Learned, alone, flat, together, work
from torch import Tensor

from snnhll.errors import UserError
from snnhll.networks.block import Block, dropout_mask
from snnhll.networks.spec import Layer
from snnhll.neurons.lif import LIF
from snnhll.parallel.launch import started
from snnhll.parallel.stages import Costs, check, cut, measure
from snnhll.parallel.wire import Format
from snnhll.rules.local import LocalRule
from snnhll.surrogates.exponential import Exponential

NET = ("architecture.spec=4C3-P2-6C3-FC12-n", "architecture.dropout=0.3", "optimizer.lr=1e-2")
HALVES = ((0, 2), (2, 4))
CASES = [
    Case.of(*NET, update="accumulate", parts=HALVES),
    Case.of(*NET, "loss=pred_recon", update="final", parts=((0, 1), (1, 4))),
    Case.of(*NET, "loss=pred_sim_contrast", "loss.weighting=gradnorm", update="rate", parts=HALVES),
    Case.of(*NET, "trainer.precision=bfloat16", update="rate", parts=HALVES),
    Case.of(*NET, "rule=three_factor", "loss=hsic", "loss.terms.hsic.objective=xz", parts=HALVES),
    Case.of(*NET, "neuron=plif", "encoding=poisson", update="rate", parts=((0, 3), (3, 4))),
    Case.of(*NET, "architecture.spec=4C3-4SEW3-FC12-n", "optimizer=sgd", parts=HALVES),
]


@pytest.fixture(scope="module")
def staged() -> dict[str, Learned]:
    """What two processes learned, by the name of the case."""
    with started(2, CPU, work, CASES) as team:
        learned = [(case.name, together(case, team)) for case in CASES]
    return {name: found for name, found in learned if found is not None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_learn_what_one_learns_bit_for_bit(staged: dict[str, Learned], case: Case) -> None:
    serial, found = alone(case), staged[case.name]
    assert [list(metrics) for metrics in found.metrics] == [list(metrics) for metrics in serial.metrics]
    for one, other in zip(flat(serial.metrics), flat(found.metrics), strict=True):
        assert float(one) == float(other)
    for one, other in zip(flat(serial.checkpoint), flat(found.checkpoint), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    start = case.rule().state_dict()
    weights = [name for name in start if name.endswith("synapse.weight") or name == "network.readout.weight"]
    assert not any(torch.equal(start[name], found.checkpoint["module"][name]) for name in weights)


# The signal between two stages


def block(pool: int, dropout: float, kind: str) -> Block:
    torch.manual_seed(0)
    layer = Layer("conv", (2, 6, 6), 3, 3, pool=pool) if kind == "conv" else Layer("linear", (11,), 5)
    return Block(layer, LIF(Exponential()), "none", dropout).train()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("kind", "pool"), [("conv", 1), ("conv", 2), ("linear", 1)])
def test_a_signal_arrives_as_it_was_sent(
    packed: bool, dtype: torch.dtype, dropout: float, kind: str, pool: int
) -> None:
    sender = block(pool, dropout, kind)
    steps, batch = 5, 3
    x = torch.rand(steps, batch, *sender.layer.in_shape)
    spikes = sender(x, steps).detach()
    sent = sender.transmit(spikes, sender.gate(spikes[0])).to(dtype)
    assert sent.count_nonzero() > 0
    form = Format.of(sender, steps, dtype, packed)
    written = form.write(sent)
    assert written.dtype == torch.uint8
    assert len(written) == form.size(batch)
    assert form.size(batch) == (-(-sent.numel() // 8) if packed else sent.numel())
    signal = form.read(written, batch, CPU)
    assert torch.equal(signal.spikes, sent)
    assert signal.spikes.movedim(2, -1).is_contiguous()
    rate = sum(step.to(torch.float64 if dtype == torch.float64 else torch.float32) for step in sent) / steps
    assert torch.equal(signal.rate, rate)


def test_counts_of_spikes_travel_as_numbers() -> None:
    sender = copy.copy(block(1, 0.3, "conv"))
    sender.layer = Layer("conv", (2, 6, 6), 3, 3, shortcut="spikes")
    counts = torch.randint(0, 4, (4, 2, 6, 6, 3)).float().movedim(-1, 2)
    sent = counts * dropout_mask(counts[0], 0.3)
    form = Format.of(sender, 4, torch.float32, packed=True)
    assert torch.equal(form.read(form.write(sent), 2, CPU).spikes, sent)
    assert form.size(2) == 4 * sent.numel()


# Where the network is cut

TIMES = st.floats(0, 10, allow_nan=False)


@st.composite
def costs(draw: st.DrawFn) -> tuple[Costs, int]:
    parts = draw(st.integers(2, 7))
    learn, write, read = (draw(st.lists(TIMES, min_size=n, max_size=n)) for n in (parts, parts - 1, parts - 1))
    return Costs(learn, write, read), draw(st.integers(2, parts))


def slowest(costs: Costs, first: int, stages: int) -> float:
    """The least time of the slowest of `stages` stages that share the parts from `first` on, by recursion."""
    parts = len(costs.learn)
    received = costs.read[first - 1] if first else 0.0
    if stages == 1:
        return received + sum(costs.learn[first:])
    return min(
        max(received + sum(costs.learn[first:end]) + costs.write[end - 1], slowest(costs, end, stages - 1))
        for end in range(first + 1, parts - stages + 2)
    )


@given(costs())
def test_the_cut_has_the_quickest_slowest_stage(drawn: tuple[Costs, int]) -> None:
    given_costs, stages = drawn
    way = cut(given_costs, stages)
    assert len(way) == stages
    assert way[0].start == 0
    assert way[-1].stop == len(given_costs.learn)
    assert all(len(parts) > 0 for parts in way)
    assert all(one.stop == other.start for one, other in pairwise(way))
    assert max(map(given_costs.of, way)) == pytest.approx(slowest(given_costs, 0, stages))


def test_measuring_costs_changes_nothing() -> None:
    case = CASES[0]
    rule = case.rule()
    assert isinstance(rule, LocalRule)
    rule.step(*case.batches()[0])
    before = copy.deepcopy(rule.checkpoint())
    found = measure(rule, *case.batches()[1], packed=True)
    assert (len(found.learn), len(found.write), len(found.read)) == (4, 3, 3)
    assert min(found.learn + found.write + found.read) > 0
    for one, other in zip(flat(before), flat(rule.checkpoint()), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


@pytest.mark.parametrize(
    ("overrides", "update", "stages", "said"),
    [
        (("rule=bptt",), "accumulate", 2, "BPTTRule"),
        (("rule=decolle",), "accumulate", 2, "rule=local or three_factor"),
        ((), "online", 2, "trainer.update"),
        ((), "accumulate", 5, "expected 2 to 4"),
        ((), "accumulate", 1, "expected 2 to 4"),
    ],
)
def test_what_has_no_stages_is_refused(overrides: tuple[str, ...], update: str, stages: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(Case.of(*NET, *overrides, update=update).rule(), stages)
