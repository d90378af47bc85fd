"""Equilibrium propagation: the fixed point, the contrast, and its limit, the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.metrics import operations
from snnhll.networks.network import Network
from snnhll.rules.eqprop import Coupled, EqPropRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def quiet(make_network: MakeNetwork, spec: str, steps: int) -> Network:
    """Integrate-and-fire neurons with weights small enough to settle, and biases that keep them firing."""
    net = make_network(spec, steps=steps, decay=1.0, v_th=1.0)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for block in net.blocks:
            block.synapse.weight.copy_(0.3 * torch.randn(block.synapse.weight.shape, generator=draw) / 8)
            block.synapse.bias.fill_(0.5)
        net.readout.weight.copy_(0.25 * torch.randn(net.readout.weight.shape, generator=draw) / 3)
        net.readout.bias.fill_(0.5)
    return net


def fixed_point(net: Network, x: Tensor, beta: float = 0.0, wanted: Tensor | None = None) -> list[Tensor]:
    """Rates at which every r = clip(I, 0, 1), by iteration."""
    (block,), out = net.blocks, net.readout
    h, y = (torch.zeros(len(x), n, dtype=x.dtype) for n in (out.in_features, out.out_features))
    for _ in range(500):
        h = (x @ block.synapse.weight.t() + block.synapse.bias + y @ out.weight).clamp(0, 1)
        drive = h @ out.weight.t() + out.bias
        y = (drive if wanted is None else drive + beta * (wanted - y)).clamp(0, 1)
    return [h.detach(), y.detach()]


def test_rates_settle_at_the_fixed_point_of_both_phases(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, (images, labels) = quiet(make_network, "64-12-n", 2000), make_batch()
    x = ((images - 0.5) / 0.25).flatten(1)
    wanted = torch.eye(4, dtype=x.dtype)[labels]
    with torch.no_grad():
        phases = Coupled(net, net.encode(images))
        free = phases.settle()
        nudged = phases.settle(0.5, wanted)
    for found, expected in ((free, fixed_point(net, x)), (nudged, fixed_point(net, x, 0.5, wanted))):
        for rate, r in zip(found[1:], expected, strict=True):
            between = (r > 0.1) & (r < 0.9)
            assert between.float().mean() > 0.25
            torch.testing.assert_close(rate[between], r[between], rtol=0, atol=5e-3)
            # next to a bound, currents that vary from step to step exceed it at times
            torch.testing.assert_close(rate[~between], r[~between], rtol=0, atol=3e-2)
    assert (nudged[-1] - wanted).norm() < (free[-1] - wanted).norm()


def test_contrast_by_hand(make_network: MakeNetwork) -> None:
    net = make_network("64-12-n", decay=1.0)
    rule = EqPropRule(net, sgd, beta=0.4)
    free, nudged = ([torch.rand(3, n, dtype=torch.float64) for n in (64, 12, 4)] for _ in range(2))
    rule.learn(free, nudged)
    weights = [(net.blocks[0].synapse.weight, 0), (net.readout.weight, 1)]
    for weight, i in weights:
        expected = torch.zeros_like(weight)
        for b in range(3):
            expected += torch.outer(nudged[i + 1][b], nudged[i][b]) - torch.outer(free[i + 1][b], free[i][b])
        torch.testing.assert_close(weight.grad, -expected.detach() / 0.4 / 3)


def test_small_nudges_give_the_gradient_of_the_squared_error(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """The theorem of the paper: ΔW -> -dC/dW for β -> 0, C = ½ ||label - y||² at the free fixed point."""
    net, (images, labels) = quiet(make_network, "64-12-n", 4), make_batch()
    x = ((images - 0.5) / 0.25).flatten(1)
    wanted = torch.eye(4, dtype=x.dtype)[labels]
    rule = EqPropRule(net, sgd, beta=1e-4, scale=1.0)
    free, nudged = fixed_point(net, x), fixed_point(net, x, 1e-4, wanted)
    rule.learn([x, *free], [x, *nudged])
    weight, gradient = net.blocks[0].synapse.weight, net.blocks[0].synapse.weight.grad
    assert gradient is not None
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)

    def cost(shift: float) -> float:
        with torch.no_grad():
            weight.add_(shift * direction)
            y = fixed_point(net, x)[1]
            weight.sub_(shift * direction)
        return float((wanted - y).square().sum() / 2 / len(x))

    slope = (cost(1e-5) - cost(-1e-5)) / 2e-5
    assert abs(slope) > 1e-3
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-2)


def test_a_nudge_of_one_outweighs_the_chance_of_counting_few_spikes(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """Half of 30 steps count: a rate is a multiple of 1/15, and a small nudge changes it by chance or not at all."""
    net, (images, labels) = quiet(make_network, "64-12-n", 30), make_batch(64)
    x = ((images - 0.5) / 0.25).flatten(1)
    wanted = torch.eye(4, dtype=x.dtype)[labels]

    def update(beta: float, free: list[Tensor], nudged: list[Tensor]) -> Tensor:
        EqPropRule(net, sgd, beta=beta, scale=1.0).learn([x, *free], [x, *nudged])
        assert net.blocks[0].synapse.weight.grad is not None
        return net.blocks[0].synapse.weight.grad.flatten().clone()

    def counted(beta: float) -> Tensor:
        with torch.no_grad():
            phases = Coupled(net, net.encode(images))
            free, nudged = phases.settle(), phases.settle(beta, wanted)
        return update(beta, free[1:], nudged[1:])

    gradient = update(1e-4, fixed_point(net, x), fixed_point(net, x, 1e-4, wanted))
    small, default = (float(torch.cosine_similarity(counted(beta), gradient, dim=0)) for beta in (0.25, 1.0))
    assert default > 0.75
    assert small < 0.6


@torch.no_grad()
def test_spikes_sent_back_are_counted_as_operations(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net = quiet(make_network, "64-12-9-n", 20)
    rule = EqPropRule(net, sgd)
    images, _ = make_batch()
    found = [float(x.abs().mean()) for x in rule.evaluate(images).inference.inputs]
    hidden, last, output = (float(rate.mean()) for rate in Coupled(net, net.encode(images)).settle()[1:])
    expected = hidden * 12 * 9 + last * (9 * 4 + 9 * 12) + output * 4 * 9
    assert expected > 0
    assert operations(net, found, rule.ways_back)[0] == pytest.approx(20 * expected)


def test_it_learns(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, batch = make_network("64-30-n", steps=30, decay=1.0), make_batch()
    rule = EqPropRule(net, lambda p: torch.optim.Adam(list(p), lr=5e-3))
    history = [rule.step(*batch) for _ in range(60)]
    assert history[-1]["readout/error"] < 0.5 * history[0]["readout/error"]
    assert (rule.evaluate(batch[0]).inference.logits.argmax(1) == batch[1]).float().mean() > 0.9


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        ("4C3-n", {"decay": 1.0}, r"architecture\.spec: eqprop is for fully connected nets"),
        ("64-9-n", {"decay": 1.0, "norm": "batch"}, r"architecture\.norm: eqprop has no statistics"),
        ("64-9-n", {"decay": 0.9}, "neuron: eqprop needs integrate-and-fire"),
        ("64-9-n", {"decay": 1.0, "dropout": 0.1}, r"architecture\.dropout: 0\.1, but eqprop drops nothing; use"),
    ],
)
def test_other_networks_are_refused(make_network: MakeNetwork, spec: str, options: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        EqPropRule(make_network(spec, **options), sgd)
