"""Target propagation: targets by the equations (2-35..2-39), and inverses that invert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.networks.network import Network
from snnhll.networks.spec import parse
from snnhll.rules.pieces import in_pieces
from snnhll.rules.targets import Inverse, TargetRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
Simulate = Callable[..., Tensor]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


@pytest.mark.parametrize("difference", [False, True])
def test_every_layer_descends_the_distance_to_its_target(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, difference: bool
) -> None:
    net, plain = make_network("64-12-9-n"), make_network("64-12-9-n")
    images, labels = make_batch()
    rule = TargetRule(net, sgd, difference, step_size=0.7, noise=0.0).double()
    g2, g3 = ((i.weight.detach().clone(), i.bias.detach().clone()) for i in rule.inverses)
    rule.step(images, labels)

    def g(of: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-(h @ of[0].t() + of[1])))

    x = ((images - 0.5) / 0.25).expand(plain.steps, *images.shape)
    first = simulate(plain.blocks[0], x, True)
    second = simulate(plain.blocks[1], first.detach(), True)
    h1, h2 = first.mean(0), second.mean(0)
    y = plain.readout(h2.detach())
    one_hot = torch.eye(plain.classes, dtype=y.dtype)[labels]
    top = y - 0.7 * (torch.softmax(y, 1) - one_hot)
    target2 = h2 + g(g3, top) - g(g3, y) if difference else g(g3, top)
    target1 = h1 + g(g2, target2) - g(g2, h2) if difference else g(g2, target2)
    missed = (h1 - target1.detach()).square().sum() + (h2 - target2.detach()).square().sum()
    cross_entropy = -torch.log_softmax(y, 1)[range(len(labels)), labels].mean()
    (missed / len(labels) + cross_entropy).backward()
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_a_perfect_prediction_leaves_the_hidden_layers_of_dtp_alone(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """h̃ = h where the target of the logits is the logits; under TP an imperfect inverse still pulls."""
    pulls = []
    for difference in (True, False):
        rule = TargetRule(make_network("64-12-9-n"), sgd, difference).double()
        rates = [torch.rand(3, 12, dtype=torch.float64), torch.rand(3, 9, dtype=torch.float64)]
        sure = 1e3 * torch.eye(4, dtype=torch.float64)[[0, 1, 2]]
        found = rule.targets(rates, sure, torch.tensor([0, 1, 2]))
        pulls.append(max(float((t - r).abs().max()) for t, r in zip(found, rates, strict=True)))
    assert pulls[0] < 1e-12
    assert pulls[1] > 1e-2


@pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n", "5C3s2-6C3-P2-n", "3C5-P3-4C3-n"])
def test_inverses_learn_to_invert(make_network: MakeNetwork, make_batch: MakeBatch, spec: str) -> None:
    net, images = make_network(spec, "batch"), make_batch()[0]
    rule = TargetRule(net, lambda p: torch.optim.Adam(list(p), lr=0.02)).double().train()
    rates = [p.sent.mean(0).detach() for p in in_pieces(net, images, False)]
    history = []
    for _ in range(60):
        history.append({name: float(v) for name, v in rule.learn_inverses(rates).items()})
    assert all(history[-1][name] < 0.8 * history[0][name] for name in history[0])
    assert len(history[0]) == len(net.blocks)


@pytest.mark.parametrize("spec", ["8C3-P2-6C5s2-FC7-n", "3C3s2-4C3s2-n", "3C5-P3-4C3-n"])
def test_an_inverse_has_the_shape_of_what_the_layer_received(spec: str) -> None:
    for layer in parse(spec, (2, 9, 8), 10):
        assert (
            Inverse(layer)(torch.rand(5, *layer.pooled_shape)).flatten(1).shape[1] == torch.Size(layer.in_shape).numel()
        )


def test_training_inverses_leaves_the_statistics_of_normalisation_alone(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    net = make_network("64-12-9-n", "batch")
    rule = TargetRule(net, sgd).double().train()
    before = {name: b.clone() for name, b in net.named_buffers()}
    rule.learn_inverses([torch.rand(6, 12, dtype=torch.float64), torch.rand(6, 9, dtype=torch.float64)])
    assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())
    assert net.blocks[0].training
