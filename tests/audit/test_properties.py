"""What the audit finds of rules whose properties are known, and of rules that break them on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.audit.cost import Meter
from snnhll.audit.experiment import Bench, Disturbance
from snnhll.audit.properties import Properties, measure
from snnhll.audit.run import audit, rules
from snnhll.build import locate
from snnhll.config import compose, options
from snnhll.networks.network import Network
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.dfa import DFARule
from snnhll.rules.ell import ELLRule
from snnhll.rules.fa import FARule
from snnhll.rules.frozen import FrozenRule
from snnhll.rules.layerwise import learn_readout
from snnhll.rules.pieces import Piece
from snnhll.rules.rule import Metrics, Rule, descend

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
MakeBench = Callable[..., Bench]

BLOCKS, READOUT = (1, 2, 3), 4


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


@pytest.fixture
def bench(make_network: MakeNetwork, make_batch: MakeBatch) -> MakeBench:
    """A function from a rule and its options to a bench with it on a net of three blocks."""

    def make(rule: Callable[..., Rule], **options: Any) -> Bench:
        network = make_network("64-14-12-10-n", "batch")
        torch.manual_seed(5)
        return Bench(rule(network, sgd, **options).double(), *make_batch(16))

    return make


def later(i: int) -> list[int]:
    return list(range(i + 1, READOUT + 1))


def ticks(found: Properties) -> list[bool | None]:
    return [found.local, found.no_weight_symmetry, found.no_update_locking, found.asynchronous_parallel]


def test_backpropagation_has_none_of_the_properties(bench: MakeBench) -> None:
    found = measure(bench(BPTTRule))
    assert ticks(found) == [False] * 4
    assert found.waits_for == {i: later(i) for i in BLOCKS}
    assert found.symmetric == [(k, i) for k in (2, 3, 4) for i in BLOCKS if i < k]
    assert found.alone == [READOUT]
    assert found.ran_before_update == {1: 3, 2: 2, 3: 1}


def test_feedback_alignment_is_free_of_weight_symmetry_alone(bench: MakeBench) -> None:
    found = measure(bench(FARule))
    assert ticks(found) == [False, True, False, False]
    assert found.waits_for == {i: later(i) for i in BLOCKS}


def test_direct_feedback_waits_for_the_readout_alone(bench: MakeBench) -> None:
    found = measure(bench(DFARule))
    assert ticks(found) == [False, True, False, False]
    assert found.waits_for == {i: [READOUT] for i in BLOCKS}
    assert found.reach == {"activity": [(READOUT, 1), (READOUT, 2)], "weights": [], "losses": []}


def test_local_classifiers_have_all_of_them(bench: MakeBench) -> None:
    found = measure(bench(ELLRule))
    assert ticks(found) == [True] * 4
    assert found.learns == [1, 2, 3, READOUT]
    assert found.alone == [1, 2, 3, READOUT]
    assert found.ran_before_update == {1: 0, 2: 0, 3: 0}


def test_of_layers_that_do_not_learn_nothing_is_claimed(bench: MakeBench) -> None:
    found = measure(bench(FrozenRule))
    assert found.learns == [READOUT]
    assert ticks(found) == [None] * 4


class Leaky(ELLRule):
    """Not local: the loss of a layer is weighed by what the layer before the one before it did, a batch ago or now."""

    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        self.seen: list[Tensor] = [] if i == 0 else self.seen
        self.seen.append(piece.spikes.detach().mean())
        factor = 1 + self.seen[i - 2] if i > 1 else 1.0
        loss = F.cross_entropy(self.heads[i].logits(piece.spikes.mean(0)), labels) * factor
        descend(self.optimizers[i], loss)
        return {}


def test_a_look_at_a_layer_that_is_no_neighbour_is_found(bench: MakeBench) -> None:
    found = measure(bench(Leaky))
    assert found.reach["activity"] == [(1, 3)]
    assert ticks(found) == [False, True, True, False]
    assert found.alone == [1, 2, READOUT]


class Peeking(ELLRule):
    """Local but for its heads: a layer learns with the classifier of the one after the next."""

    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        other = self.heads[2] if i == 0 else self.heads[i]
        strength = other.classifier.weight.detach().norm() + 1
        descend(self.optimizers[i], F.cross_entropy(self.heads[i].logits(piece.spikes.mean(0)), labels) * strength)
        return {}


def test_another_layers_loss_is_found(bench: MakeBench) -> None:
    found = measure(bench(Peeking))
    assert found.reach == {"activity": [], "weights": [], "losses": [(3, 1)]}
    assert found.local is False


class OneBack(ELLRule):
    """Each layer also descends the loss of the next one: two layers share a gradient."""

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        x, total = self.network.encode(images), torch.zeros((), dtype=images.dtype)
        below = x
        for i, block in enumerate(self.network.blocks):
            spikes = block(below, self.network.steps)
            total = total + F.cross_entropy(self.heads[i].logits(spikes.mean(0)), labels)
            below = spikes if i == 0 else spikes.detach()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        total.backward()
        for optimizer in self.optimizers[:-1]:
            optimizer.step()
        return learn_readout(self.network, self.optimizers[-1], below.detach(), labels)


def test_a_gradient_that_reaches_one_layer_down_is_local_but_symmetric_and_locked(bench: MakeBench) -> None:
    found = measure(bench(OneBack))
    assert ticks(found) == [True, False, False, False]
    assert found.symmetric == [(2, 1)]
    assert found.waits_for == {1: [2], 2: [], 3: []}


@pytest.mark.parametrize("rule", [BPTTRule, DFARule, ELLRule])
def test_holding_every_layer_as_it_was_changes_nothing(bench: MakeBench, rule: Any) -> None:
    """The instrument itself leaves no trace; and a step repeats to the bit."""
    own = bench(rule)
    assert not any(own.changed(Disturbance(held=frozenset(range(READOUT)))))
    assert not any(own.changed(Disturbance()))
    assert all(any(part.abs().max() > 0 for part in update) for update in own.plain.updates)


@pytest.mark.parametrize("rule", ["three_factor", "dtp", "fdfa", "eprop", "stdp", "eqprop", "ann2snn"])
def test_rules_of_every_kind_can_be_audited(rule: str) -> None:
    """They run under disturbances, every layer learns, and what is measured fits together."""
    assert rule in rules()
    line = audit(rule, [])
    found = line.properties
    assert found.learns[:4] == [1, 2, 3, 4]
    assert found.local is found.no_update_locking is declares_local(rule)
    assert found.no_update_locking or not found.asynchronous_parallel
    assert not found.symmetric or not found.no_update_locking
    assert line.cost.operations > 0
    assert min(line.cost.bytes.values()) > 0


def declares_local(rule: str) -> bool:
    """What the class of a rule says of itself; pictures go by it."""
    declared: bool = locate(compose([f"rule={rule}"])["rule"], "rule").local  # type: ignore[attr-defined]
    return declared


@pytest.mark.parametrize("rule", options("rule"))
def test_what_a_rule_declares_is_what_the_page_says_was_measured(rule: str) -> None:
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text()
    line = re.search(rf"^\| `{rule}` \| (.)[^|]*\|[^|]*\| (.)", page, re.MULTILINE)
    assert line is not None, "docs/audit.md has no row of it"
    assert line.groups() in ((("✓", "✓"), ("–", "–")) if declares_local(rule) else (("✗", "✗"),))


# Cost


def test_memory_alive_at_once_is_counted_not_what_was_freed() -> None:
    with Meter() as meter:
        kept = torch.ones(1000)
        for _ in range(5):
            torch.ones(2000).sum()
        view = kept.view(10, 100)
    assert 4 * 3000 <= meter.peak < 4 * 3010
    assert view.untyped_storage().nbytes() <= meter.bytes < 4 * 1010


def test_the_input_is_left_out_whether_alive_or_freed() -> None:
    with Meter() as meter:
        coded = meter.uncounted(torch.ones_like)(torch.empty(1000))
        made = coded.view(10, 100) + 1
        made.mul(2)  # beside what is doubled
        del coded
        made.mul(2)
    assert meter.peak == 2 * 4 * 1000


def test_a_graph_is_counted_while_it_is_alive() -> None:
    weight = torch.ones(50, 50, requires_grad=True)
    peaks = []
    for steps in (2, 8):
        with Meter() as meter:
            x = torch.ones(10, 50)
            for _ in range(steps):
                x = torch.tanh(x @ weight)
            x.sum().backward()
        peaks.append(meter.peak)
        weight.grad = None
    assert peaks[1] - peaks[0] >= 6 * 4 * 10 * 50


def test_multiply_accumulates_forward_and_back() -> None:
    x, weight = torch.ones(7, 5), torch.ones(3, 5, requires_grad=True)
    with Meter() as meter:
        F.linear(x, weight).sum().backward()
    assert meter.operations == 2 * 7 * 5 * 3
