"""Implicit differentiation: the equilibrium of the spikes, and its gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.metrics import operations
from snnhll.networks.network import Network
from snnhll.rules.ide import IDERule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def settled_rule(make_network: MakeNetwork, steps: int) -> IDERule:
    """Weights small enough to settle between the bounds, a feedback that matters."""
    net = make_network("64-12-9-n", steps=steps, decay=1.0, v_th=0.9)
    torch.manual_seed(3)
    rule = IDERule(net, sgd, feedback=0.8, iterations=60).double()
    with torch.no_grad():
        for block in net.blocks:
            block.synapse.weight *= 0.15 if block is net.blocks[0] else 0.5
            block.synapse.bias.fill_(0.4)
    return rule


def equilibrium(rule: IDERule, x: Tensor) -> Tensor:
    """r = f(r, x), by iterating the equations as they stand."""
    one, two = rule.network.blocks
    r = torch.zeros(len(x), 9, dtype=x.dtype)
    for _ in range(300):
        h = ((x @ one.synapse.weight.t() + one.synapse.bias + r @ rule.feedback.weight.t()) / 0.9).clamp(0, 1)
        r = ((h @ two.synapse.weight.t() + two.synapse.bias) / 0.9).clamp(0, 1)
    return r.detach()


def test_spikes_settle_at_the_equilibrium(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    rule, (images, _) = settled_rule(make_network, 2000), make_batch()
    expected = equilibrium(rule, ((images - 0.5) / 0.25).flatten(1))
    assert ((expected > 0.05) & (expected < 0.95)).float().mean() > 0.5
    outcome = rule.evaluate(images)
    torch.testing.assert_close(outcome.inference.rates[-1], expected, rtol=0, atol=5e-3)
    without = IDERule(make_network("64-12-9-n", decay=1.0), sgd, feedback=0.0)
    assert not without.feedback.weight.any()


def test_gradient_is_that_of_the_loss_at_the_equilibrium(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    rule, (images, labels) = settled_rule(make_network, 4), make_batch()
    x = ((images - 0.5) / 0.25).flatten(1)
    r = equilibrium(rule, x).requires_grad_()
    F.cross_entropy(rule.network.readout(r), labels).backward()
    assert r.grad is not None
    rule.differentiate(x, r.detach(), r.grad)
    draw = torch.Generator().manual_seed(0)
    for weight in (rule.network.blocks[0].synapse.weight, rule.feedback.weight, rule.network.blocks[1].synapse.bias):
        direction = torch.randn(weight.shape, generator=draw, dtype=x.dtype)

        def cost(shift: float, weight: Tensor = weight, direction: Tensor = direction) -> float:
            with torch.no_grad():
                weight.add_(shift * direction)
                loss = F.cross_entropy(rule.network.readout(equilibrium(rule, x)), labels)
                weight.sub_(shift * direction)
            return float(loss)

        slope = (cost(1e-6) - cost(-1e-6)) / 2e-6
        assert abs(slope) > 1e-4
        assert weight.grad is not None
        assert float((weight.grad * direction).sum()) == pytest.approx(slope, rel=1e-4)


def test_maps_settle_and_are_differentiated_at_their_equilibrium(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """Feedback of 6x4x4 maps, every pixel repeated twice each way, through 3x3 weights to the 4x8x8 maps of layer 1."""
    net, (images, labels) = make_network("4C3-6C3s2-n", steps=2000, decay=1.0, v_th=0.9), make_batch(3)
    rule = IDERule(net, sgd, feedback=0.4, iterations=80).double()
    with torch.no_grad():
        for block in net.blocks:
            block.synapse.weight *= 0.2
            block.synapse.bias.fill_(0.4)
    x = (images - 0.5) / 0.25

    def settled() -> Tensor:
        r = torch.zeros(3, 6, 4, 4, dtype=x.dtype)
        for _ in range(200):
            enlarged = r.repeat_interleave(2, 2).repeat_interleave(2, 3)
            back = F.conv2d(enlarged, rule.feedback.weight, padding=1)
            one, two = (block.synapse for block in net.blocks)
            h = ((F.conv2d(x, one.weight, one.bias, padding=1) + back) / 0.9).clamp(0, 1)
            r = (F.conv2d(h, two.weight, two.bias, 2, 1) / 0.9).clamp(0, 1)
        return r.detach()

    def cost() -> Tensor:
        return F.cross_entropy(net.readout(settled().flatten(1)), labels)

    torch.testing.assert_close(rule.evaluate(images).inference.rates[-1], settled(), rtol=0, atol=5e-3)
    r = settled().requires_grad_()
    F.cross_entropy(net.readout(r.flatten(1)), labels).backward()
    assert r.grad is not None
    rule.differentiate(x, r.detach(), r.grad)
    for weight in (net.blocks[0].synapse.weight, rule.feedback.weight):
        assert weight.grad is not None
        direction = weight.grad / weight.grad.norm()
        with torch.no_grad():
            weight.add_(1e-6 * direction)
            above = cost()
            weight.sub_(2e-6 * direction)
            below = cost()
            weight.add_(1e-6 * direction)
        assert weight.grad.norm() > 1e-4
        assert weight.grad.norm().item() == pytest.approx(float(above - below) / 2e-6, rel=1e-4)


def test_it_learns_and_trains_its_feedback(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, batch = make_network("64-30-n", steps=20, decay=1.0), make_batch()
    rule = IDERule(net, lambda p: torch.optim.Adam(list(p), lr=5e-3)).double()
    before = rule.feedback.weight.clone()
    history = [rule.step(*batch) for _ in range(60)]
    assert history[-1]["readout/pred"] < 0.5 * history[0]["readout/pred"]
    assert (rule.evaluate(batch[0]).inference.logits.argmax(1) == batch[1]).float().mean() > 0.9
    assert not torch.equal(rule.feedback.weight, before)


@torch.no_grad()
def test_spikes_sent_back_are_counted_as_operations(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """On maps of 4x4, nine taps a position and pair of channels; a spike of the last layer is enlarged to four."""
    rule = IDERule(make_network("4C3s2-6C3s2-n", steps=7, decay=1.0), sgd).double().eval()
    inputs = rule.evaluate(make_batch()[0]).inference.inputs
    assert rule.ways_back == [4 * 6 * 9 * 16]
    assert torch.equal(inputs[-1], inputs[-2])
    plain = IDERule(make_network("64-12-9-n", steps=7, decay=1.0), sgd).double().eval()
    found = [float(x.abs().mean()) for x in plain.evaluate(make_batch()[0]).inference.inputs]
    accumulates, _ = operations(plain.network, found, plain.ways_back)
    assert accumulates == pytest.approx(7 * (found[1] * 12 * 9 + found[2] * (9 * 4 + 9 * 12)))


def test_without_feedback_none_is_learned(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    rule = IDERule(make_network("64-12-9-n", steps=20, decay=1.0), sgd, feedback=0.0).double()
    before = rule.network.blocks[0].synapse.weight.clone()
    for _ in range(3):
        rule.step(*make_batch())
    assert not rule.feedback.weight.any()
    assert rule.ways_back == [0]
    assert not torch.equal(rule.network.blocks[0].synapse.weight, before)


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        ("4C3-FC9-n", {"decay": 1.0}, r"architecture\.spec: ide feeds the last layer back .* a vector to maps"),
        ("4C3-P2-6C3-n", {"decay": 1.0}, r"architecture\.spec: ide has no equilibrium of maximum pooling"),
        ("64-9-n", {"decay": 1.0, "norm": "batch"}, r"architecture\.norm: ide has no statistics"),
        ("64-9-n", {"decay": 0.9}, "neuron: ide needs integrate-and-fire"),
        ("64-9-n", {"decay": 1.0, "dropout": 0.1}, r"architecture\.dropout: 0\.1, but ide drops nothing; use"),
    ],
)
def test_other_networks_are_refused(make_network: MakeNetwork, spec: str, options: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        IDERule(make_network(spec, **options), sgd)
