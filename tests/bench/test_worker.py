"""One measurement, in this process: every setting trains, and the timed steps are those asked for."""

from __future__ import annotations

import time
from dataclasses import asdict
from importlib import import_module

import pytest
import torch
from torch import nn

from snnhll.bench import ours, peer, worker
from snnhll.bench.contest import OURS, PEERS, Measurement, our_settings, peer_settings
from snnhll.bench.works import WORKS, Work

PEER_RUNS = [(peer, setting) for peer in PEERS for setting in peer_settings()]


@pytest.mark.parametrize("setting", our_settings())
def test_each_of_our_settings_trains_every_weight(tiny: Work, setting: str) -> None:
    rule = ours.build(tiny, setting, 3).train()
    assert_trains(rule.network, rule.step, tiny)


@pytest.mark.parametrize(("name", "setting"), PEER_RUNS)
def test_each_peer_trains_every_weight(tiny: Work, name: str, setting: str) -> None:
    pytest.importorskip(name)
    network = import_module(f"snnhll.bench.{name}").Network(tiny, 3)
    assert_trains(network, peer.trainer(network, setting), tiny)


def assert_trains(network: nn.Module, step: worker.Step, work: Work) -> None:
    """Two steps change every weight: nothing that is timed leaves part of the network untrained.

    Two, as a prediction head begins at zero: in the first step it alone has a gradient.
    """
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for _ in range(2):  # on images so bright that no layer is silent under any initialisation
        step(8 * torch.rand(8, *work.shape), torch.arange(8))
    unchanged = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    assert not unchanged


def test_stages_are_timed_in_processes_of_their_own() -> None:
    """What they learn is tested in tests/parallel."""
    narrow = Work("narrow", "64-32-16-10", (1, 8, 8), "none", "digits")
    request = Measurement(narrow, OURS, "pred_sim rate bf16", 3, 8, steps=2).request() | {"threads": 1}
    costs = worker.answer(request | {"kind": "costs", "stages": 2})
    assert {kind: len(times) for kind, times in costs.items()} == {"learn": 3, "write": 2, "read": 2}
    answer = worker.answer(request | {"kind": "pipeline", "parts": [(0, 1), (1, 3)]})
    assert answer["samples_per_second"] > 0


def test_the_number_of_timed_steps_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch, tiny: Work) -> None:
    batches: list[int] = []
    fake = lambda work, m: lambda images, labels: batches.append(len(images))  # noqa: E731
    monkeypatch.setattr(worker, "trainer", fake)
    answer = worker.measure(Measurement(tiny, OURS, "bptt fp32", 3, 8, steps=5))
    assert answer["steps"] == 5
    assert batches == [2] + [8] * (worker.WARM_UP + 5)


def test_without_a_number_steps_fill_the_time_but_never_fewer_than_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    assert len(worker._times(lambda: None, None)) == worker.LEAST_STEPS  # each step takes a second here
    monkeypatch.setattr(worker, "SECONDS", 10.0)
    assert len(worker._times(lambda: None, None)) == 11


def test_memory_growth_counts_what_a_step_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 64 * 2**20
    monkeypatch.setattr(worker, "trainer", lambda work, m: lambda images, labels: torch.ones(size, dtype=torch.uint8))
    answer = worker.measure(Measurement(WORKS["mlp"], OURS, "bptt fp32", 3, 8, steps=1))
    if answer["baseline"] == "built model":  # elsewhere an earlier, higher peak may hide the growth
        assert abs(answer["peak_memory_bytes"] - size) < 2**20  # the system counts pages in lots


def test_a_request_survives_json(tiny: Work) -> None:
    m = Measurement(tiny, OURS, "bptt fp32", 3, 8, steps=1)
    fields = {**asdict(m), "work": {**asdict(tiny), "shape": list(tiny.shape)}}
    assert worker._measurement(fields) == m


@pytest.mark.parametrize("name", PEERS)
def test_peers_train_the_network_that_we_train(tiny: Work, name: str) -> None:
    network = ours.build(tiny, "bptt fp32", 3).network
    wanted = sorted(tuple(p.shape) for p in network.parameters())
    pytest.importorskip(name)
    other = import_module(f"snnhll.bench.{name}").Network(tiny, 3)
    assert sorted(tuple(p.shape) for p in other.parameters()) == wanted
