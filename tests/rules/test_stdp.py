"""STDP against pairwise loops over spikes; competition; votes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.encodings.poisson import Poisson
from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.networks.spec import parse
from snnhll.neurons.competitive import Competitive
from snnhll.neurons.lif import LIF
from snnhll.rules.pieces import Piece, in_pieces
from snnhll.rules.stdp import STDPRule, votes
from snnhll.surrogates.exponential import Exponential

MakeBatch = Callable[..., tuple[Tensor, Tensor]]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def competing(
    spec: str = "64-6-n", norm: Any = "none", neuron: Any = None, encoding: Any = None, dropout: float = 0.0
) -> Network:
    make = neuron or (lambda: Competitive(Exponential(), decay=0.8, v_th=0.5))
    layers = parse(spec, (1, 8, 8), 4)
    mean, std = torch.tensor([0.5]), torch.tensor([0.25])
    return Network(layers, 4, 6, encoding or Poisson(0.5), make, mean, std, norm, dropout).double()


def pieces_of(rule: STDPRule, images: Tensor) -> Piece:
    torch.manual_seed(4)
    return in_pieces(rule.network, images, False)[0]


@pytest.mark.parametrize("kind", ["pair", "inhibitory", "triplet", "asymmetric", "reward"])
def test_change_is_the_sum_over_pairs_of_spikes(make_batch: MakeBatch, kind: Any) -> None:
    torch.manual_seed(0)
    rule = STDPRule(competing(), sgd, kind, 0.9, 0.4, tau_plus=3, tau_minus=4, tau_slow=7, offset=0.3).double()
    piece = pieces_of(rule, make_batch(5)[0])
    reward = torch.tensor([1.0, -1, 1, 1, -1], dtype=torch.float64)
    found = rule.change(piece, reward if kind == "reward" else None)
    post, pre = piece.spikes.detach(), piece.source.flatten(2).double()
    assert post.sum() > 5
    expected = torch.zeros_like(found)
    steps = len(post)
    for b in range(5):
        for t in range(steps):
            for j in post[t, b].nonzero()[:, 0].tolist():
                seen = sum(math.exp(-(t - p) / 3) * pre[p, b] for p in range(t + 1))
                slow = sum(math.exp(-(t - 1 - q) / 7) * float(post[q, b, j]) for q in range(t))
                if kind == "asymmetric":
                    expected[j] += (seen - 0.3) * (1 - rule.network.blocks[0].synapse.weight[j].detach())
                    continue
                factor = (float(reward[b]) if kind == "reward" else 1) * (-1 if kind == "inhibitory" else 1)
                expected[j] += 0.9 * factor * (1 + slow if kind == "triplet" else 1) * seen
                for later in range(t + 1, steps):
                    expected[j] -= 0.4 * factor * math.exp(-(later - 1 - t) / 4) * pre[later, b]
    torch.testing.assert_close(found, expected / 5, rtol=1e-9, atol=1e-12)


def test_one_neuron_at_most_fires_at_a_step_and_the_strongest_does() -> None:
    neuron = Competitive(Exponential(), decay=1.0, v_th=1.0, inhibition=0.3)
    current = torch.tensor([[0.6, 0.9, 0.2]])
    spikes, state, _ = neuron.step(current, neuron.start(current))
    assert spikes.sum() == 0
    spikes, state, u = neuron.step(current, state)
    torch.testing.assert_close(u, torch.tensor([[1.2, 1.8, 0.4]]))
    assert spikes.tolist() == [[0, 1, 0]]
    torch.testing.assert_close(state[0], torch.tensor([[0.9, 0.0, 0.1]]))


def test_weights_stay_bounded_and_their_sum_is_kept(make_batch: MakeBatch) -> None:
    net = competing()
    rule = STDPRule(net, lambda p: torch.optim.SGD(list(p), lr=5.0), "pair", total=12.8).double()
    for step in range(5):
        rule.step(*make_batch(seed=step))
        weight = net.blocks[0].synapse.weight
        assert weight.min() >= 0
        assert weight.max() <= 1
        assert (weight.sum(1) <= 12.8 + 1e-9).all()


def test_weights_sum_to_total_whatever_the_number_of_inputs(make_batch: MakeBatch) -> None:
    rule = STDPRule(competing("64-20-6-n"), sgd, total=3.0, homeostasis=0.0).double()
    rule.step(*make_batch())
    for block in rule.network.blocks:
        weight = block.synapse.weight.detach()
        assert weight.max() < 1
        torch.testing.assert_close(weight.sum(1), torch.full((len(weight),), 3.0, dtype=weight.dtype))


def test_votes_by_hand() -> None:
    responses = torch.tensor([[0.5, 0.1, 0.0, 0.2], [0.1, 0.4, 0.0, 0.3], [0.0, 0.2, 0.0, 0.0]])
    expected = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 0, 0]])
    torch.testing.assert_close(votes(responses), expected)


def test_homeostasis_evens_out_who_fires(make_batch: MakeBatch) -> None:
    shares = []
    for homeostasis in (0.0, 1.0):
        torch.manual_seed(0)
        net = competing("64-8-n")
        rule = STDPRule(net, sgd, offset=1.0, homeostasis=homeostasis, activity=1.0).double()
        with torch.no_grad():
            net.blocks[0].synapse.bias[0] = 2.0  # a neuron that always wins
        for step in range(100):
            rule.step(*make_batch(32, seed=step))
        rate = sum(pieces_of(rule, make_batch(64, seed=s)[0]).spikes.mean((0, 1)) for s in range(4))
        assert isinstance(rate, Tensor)
        shares.append(float(rate.max() / rate.sum()))
    assert shares[0] > 0.8
    assert shares[1] < 0.25


def test_homeostasis_keeps_to_the_share_of_steps_at_which_a_neuron_fires(make_batch: MakeBatch) -> None:
    torch.manual_seed(0)
    net = competing("64-8-n")
    rule = STDPRule(net, sgd, offset=1.0, homeostasis=5.0, activity=0.1).double()
    before = float(pieces_of(rule, make_batch(64, seed=0)[0]).spikes.sum(2).mean())
    for step in range(200):
        rule.step(*make_batch(32, seed=step))
    after = sum(float(pieces_of(rule, make_batch(64, seed=s)[0]).spikes.sum(2).mean()) for s in range(4)) / 4
    assert before > 0.4
    assert abs(after - 0.1) < 0.03


def test_it_learns_without_labels_what_votes_can_tell(make_data: Any) -> None:
    """Four quadrants: chance is a quarter."""
    data = make_data(per_class=40)
    torch.manual_seed(0)
    rule = STDPRule(competing("64-16-n"), sgd, offset=1.0, total=6.4, homeostasis=0.1, activity=1.0).double().train()
    for epoch in range(4):
        for images, labels in data.train_batches(epoch):
            rule.step(images.double(), labels)
    rule.eval()
    images, labels = next(iter(data.eval_batches("val", 100)))
    predicted = rule.evaluate(images.double()).inference.logits.argmax(1)
    assert (predicted == labels).float().mean() > 0.7


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"encoding": "direct"}, "encoding: stdp pairs spikes"),
        ({"spec": "4C3-n"}, "architecture.spec: stdp is for fully connected nets"),
        ({"norm": "batch"}, "architecture.norm: stdp keeps the weights in bounds itself"),
        ({"dropout": 0.5}, "architecture.dropout: 0.5, but stdp drops nothing"),
        ({"neuron": lambda: LIF(Exponential())}, "neuron: under stdp the neurons of a layer must compete"),
    ],
)
def test_what_it_cannot_train_is_refused(network: dict[str, Any], says: str) -> None:
    if network.get("encoding") == "direct":
        from snnhll.encodings.direct import Direct

        network = {"encoding": Direct()}
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        STDPRule(competing(**network), sgd)


def test_weights_that_cannot_sum_to_the_total_are_refused() -> None:
    """Of the smallest layer: twenty weights of at most 0.1 are less than 2.5, sixty-four are not."""
    STDPRule(competing("64-20-n"), sgd, w_max=0.1, total=2.5)
    with pytest.raises(UserError, match=r"rule\.total: 2\.5 is more than 20 weights of at most 0\.1 sum to"):
        STDPRule(competing("64-20-6-n"), sgd, w_max=0.1, total=2.5)
