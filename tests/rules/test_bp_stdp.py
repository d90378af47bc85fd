"""BP-STDP against loops over neurons and steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.encodings.poisson import Poisson
from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.rules.bp_stdp import BPSTDPRule, recent
from snnhll.rules.pieces import in_pieces

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def firing(make_network: MakeNetwork, spec: str = "64-12-9-n", **options: Any) -> Network:
    """Integrate-and-fire neurons that receive spikes."""
    net = make_network(spec, **({"decay": 1.0} | options))
    net.encoding = Poisson()
    return net


def integrate_and_fire(current: Tensor) -> Tensor:
    """Soft reset at a threshold of 1: the potential is what came in less what was fired."""
    fired = torch.zeros_like(current)
    for t in range(len(current)):
        fired[t] = (current[: t + 1].sum(0) - fired.sum(0) >= 1).to(current.dtype)
    return fired


def count(spikes: Tensor, t: int, window: int) -> Tensor:
    return spikes[max(0, t - window + 1) : t + 1].sum(0)


@pytest.mark.parametrize("window", [1, 3])
def test_updates_by_hand(make_network: MakeNetwork, make_batch: MakeBatch, window: int) -> None:
    net, (images, labels) = firing(make_network, "64-12-9-n"), make_batch()
    torch.manual_seed(3)
    with torch.no_grad():
        pieces = in_pieces(net, images, False)
        one, two = (p.spikes for p in pieces)
        out = integrate_and_fire(net.readout(two))
        image = pieces[0].source.flatten(2)
        w2, w3 = net.blocks[1].synapse.weight.clone(), net.readout.weight.clone()
    changes = [torch.zeros_like(w) for w in (net.blocks[0].synapse.weight, w2, w3)]
    for t in range(net.steps):
        for b, label in enumerate(labels.tolist()):
            fired = count(out, t, window)[b] > 0
            error = torch.zeros(net.classes, dtype=images.dtype)
            for o in range(net.classes):
                if o == label and not fired[o]:
                    error[o] = 1
                elif o != label and fired[o]:
                    error[o] = -1
            n0, n1, n2 = (count(s, t, window)[b] for s in (image, one, two))
            error2 = torch.where(n2 > 0, error @ w3, 0.0)
            error1 = torch.where(n1 > 0, error2 @ w2, 0.0)
            for change, xi, n in zip(changes, (error1, error2, error), (n0, n1, n2), strict=True):
                change += torch.outer(xi, n) / len(labels)
    rule = BPSTDPRule(net, sgd, window)
    torch.manual_seed(3)
    rule.step(images, labels)
    found = [net.blocks[0].synapse.weight.grad, net.blocks[1].synapse.weight.grad, net.readout.weight.grad]
    for gradient, change in zip(found, changes, strict=True):
        assert gradient is not None
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(gradient, -change.detach(), rtol=1e-9, atol=1e-12)


def test_recent_counts_a_window() -> None:
    spikes = torch.tensor([1.0, 0, 1, 1, 0, 0, 0])
    assert recent(spikes, 3).tolist() == [1, 1, 2, 2, 2, 1, 0]
    assert recent(spikes, 1).tolist() == spikes.tolist()
    assert recent(spikes, 20).tolist() == spikes.cumsum(0).tolist()


def test_it_descends(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, batch = firing(make_network, "64-30-n"), make_batch()
    rule = BPSTDPRule(net, lambda p: torch.optim.Adam(list(p), lr=3e-3))
    history = [rule.step(*batch) for _ in range(80)]
    assert history[-1]["readout/error"] < 0.5 * history[0]["readout/error"]
    assert history[-1]["correct"] == len(batch[1])


def test_the_error_passes_maximum_pooling_where_a_neuron_fired(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """Of a window of pooled neurons one that fired most gets it, none where none fired, whatever their currents are."""
    net, (images, labels) = firing(make_network, "3C3-P2-n", v_th=0.8), make_batch()
    rule = BPSTDPRule(net, sgd, window=3)
    torch.manual_seed(3)
    with torch.no_grad():
        (piece,) = in_pieces(net, images, False)
        fired = recent(piece.spikes, 3)
        error = rule.output_error(rule.output_neurons(net.classify(piece.sent), net.steps), labels)
        sent_back = (error @ net.readout.weight).view_as(piece.sent)
        windows = fired.unfold(3, 2, 2).unfold(4, 2, 2).flatten(-2)
        first = F.one_hot(windows.argmax(-1), 4) * (windows > 0)  # [T, B, C, H/2, W/2, 4]
        routed = (first * sent_back[..., None]).unflatten(-1, (2, 2)).transpose(4, 5).reshape(fired.shape)
    counts = recent(piece.source, 3)
    weight = net.blocks[0].synapse.weight
    expected = torch.zeros_like(weight)
    patches = F.unfold(counts.flatten(0, 1), 3, padding=1)  # [T B, 9, 64]
    expected += torch.einsum("ncp,nkp->ck", routed.flatten(0, 1).flatten(2), patches).view_as(weight) / len(labels)
    torch.manual_seed(3)
    rule.step(images, labels)
    assert expected.abs().max() > 1e-3
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, -expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "direct", "says"),
    [
        ({"norm": "batch"}, False, r"architecture\.norm: bp_stdp counts spikes, which"),
        ({}, True, "encoding: bp_stdp counts spikes, and direct encoding sends none"),
        ({"decay": 0.9}, False, "neuron: bp_stdp needs integrate-and-fire with soft reset"),
    ],
)
def test_what_its_equations_do_not_cover_is_refused(
    make_network: MakeNetwork, options: dict[str, Any], direct: bool, says: str
) -> None:
    net = make_network(**({"decay": 1.0} | options)) if direct else firing(make_network, **options)
    with pytest.raises(UserError, match=says):
        BPSTDPRule(net, sgd)
