"""The peers compute our network spike for spike, and the check notices when they do not."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from snnhll.bench import agreement
from snnhll.bench.agreement import compare
from snnhll.bench.contest import PEERS
from snnhll.bench.works import Work


@pytest.mark.parametrize("peer", PEERS)
def test_spikes_of_every_layer_are_equal(tiny: Work, peer: str) -> None:
    pytest.importorskip(peer)
    torch.manual_seed(0)
    found = compare(tiny, peer, 6)
    assert [a.reset for a in found] == list(import_module(f"snnhll.bench.{peer}").Network.resets)
    for one in found:
        assert len(one.rates) == len(one.different) == len(tiny.layers())
        assert one.different == [0] * len(one.different)
        assert all(0.01 < rate < 0.99 for rate in one.rates), "silent layers agree about nothing"


@pytest.mark.parametrize("peer", PEERS)
def test_another_decay_is_noticed(tiny: Work, peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(peer)
    network = import_module(f"snnhll.bench.{peer}").Network
    right = network.matching_neuron
    monkeypatch.setattr(network, "matching_neuron", staticmethod(lambda reset, decay: right(reset, decay + 0.2)))
    torch.manual_seed(0)
    assert all(one.different[0] > 0 for one in compare(tiny, peer, 6))


@pytest.mark.parametrize("peer", PEERS)
def test_logits_of_the_matched_networks_are_equal(tiny: Work, peer: str) -> None:
    pytest.importorskip(peer)
    torch.manual_seed(0)
    peer_class = import_module(f"snnhll.bench.{peer}").Network
    images = torch.rand(4, *tiny.shape, dtype=torch.float64)
    network = agreement._calibrated(tiny, "hard", 5, images)
    other = peer_class(tiny, 5, "hard", agreement.DECAY).double().eval()
    agreement.transfer(network, other)
    with torch.no_grad():
        torch.testing.assert_close(other(network.normalised(images)), network(images), rtol=1e-12, atol=1e-12)
