"""Residual blocks: their equations written out, their gradients, and which rules train them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.metrics import connections, operations
from snnhll.networks.network import Network
from snnhll.networks.residual import Residual
from snnhll.networks.spec import parse

STEPS = 5
KINDS = ["SEW", "MS"]


def network_of(make_network: Any, block: str, **more: Any) -> tuple[Network, Residual]:
    network: Network = make_network(f"4C3-{block}-P2-FC6-FCn", "none", **more)
    residual = network.blocks[1]
    assert isinstance(residual, Residual)
    return network.eval(), residual


def lif(current: Tensor) -> Tensor:
    """(3-1), (3-2) with the decay and threshold of the test networks."""
    v, spikes = torch.zeros_like(current[0]), []
    for i in current:
        u = 0.7 * v + i
        s = (u >= 0.6).to(u.dtype)
        v = u - 0.6 * s
        spikes.append(s)
    return torch.stack(spikes)


def conv(x: Tensor, synapse: Any, stride: int) -> Tensor:
    padding = synapse.weight.shape[-1] // 2
    return torch.stack([torch.nn.functional.conv2d(s, synapse.weight, synapse.bias, stride, padding) for s in x])


def by_hand(block: Residual, x: Tensor, stride: int) -> Tensor:
    current = conv(lif(conv(x, block.first.synapse, stride)), block.synapse, 1)
    skip = x if block.shortcut is None else conv(x, block.shortcut.synapse, stride)
    if block.layer.shortcut == "membrane":
        return lif(current + skip)
    return lif(current) + (skip if block.shortcut is None else lif(skip))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_pooled_output_of_every_block(kind: str, norm: str, make_network: Any, make_batch: Any) -> None:
    """Plain and residual: the spikes, and the same pooled, whose gradient is that of the spikes pooled by hand."""
    network = make_network(f"4C3-6{kind}3-P2-FC6-FCn", norm).train()
    x = network.encode(make_batch()[0])
    for block in network.blocks[:2]:
        weights = [synapse.weight for synapse in block.synapses]
        spikes, maps = block.pooled(x, STEPS, 4)
        whole = block(x, STEPS)
        assert torch.equal(spikes, whole)
        assert not spikes.requires_grad
        by_hand = whole.unflatten(4, (4, 2)).unflatten(3, (4, 2)).mean((4, 6))
        torch.testing.assert_close(maps, by_hand)
        found, expected = (torch.autograd.grad(y.square().sum(), weights) for y in (maps, by_hand))
        torch.testing.assert_close(found, expected)
        assert all(gradient.abs().max() > 0 for gradient in expected)
        x = whole.detach()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "stride"), [("4{}3", 1), ("6{}3", 1), ("4{}3s2", 2)])
def test_equations_by_hand(kind: str, shape: str, stride: int, make_network: Any, make_batch: Any) -> None:
    network, block = network_of(make_network, shape.format(kind))
    x = network.blocks[0](network.encode(make_batch()[0]), STEPS)
    expected = by_hand(block, x, stride)
    assert (block.shortcut is None) == (shape == "4{}3")
    assert torch.equal(block(x, STEPS), expected)
    assert torch.equal(block.trace(x, STEPS)[1], expected)
    assert expected.max() == (2 if kind == "SEW" else 1)
    assert expected.shape[2:] == block.layer.out_shape


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_inference_agrees_with_the_differentiable_pass(kind: str, make_network: Any, make_batch: Any) -> None:
    network, block = network_of(make_network, f"6{kind}3s2")
    images, _ = make_batch()
    inference = network.infer(images)
    torch.testing.assert_close(inference.logits, network(images))
    assert len(inference.rates) == 3
    x = network.blocks[0](network.encode(images), STEPS)
    between = block.first(x, STEPS)
    expected = [x.mean(0), between.mean(0), x.mean(0)]
    torch.testing.assert_close(inference.inputs[1:4], expected)
    own = block.second(x, between, STEPS)
    assert own.max() == 1
    torch.testing.assert_close(inference.fired[1], own.mean(0))
    assert torch.equal(inference.fired[1], inference.rates[1]) == (kind == "MS")


@torch.no_grad()
def test_operations_count_all_three_convolutions(make_network: Any, make_batch: Any) -> None:
    network, block = network_of(make_network, "6SEW3s2")
    assert [connections(s) for s in block.synapses] == [6 * 4 * 9 * 16, 6 * 6 * 9 * 16, 6 * 4 * 16]
    inputs = [float(x.mean()) for x in network.infer(make_batch()[0]).inputs]
    fans = [*(connections(s) for b in network.blocks for s in b.synapses), 6 * 4]
    total = STEPS * sum(fan * x for fan, x in zip(fans[1:], inputs[1:], strict=True))
    assert operations(network, inputs)[0] == pytest.approx(total)


def test_gradients_reach_the_input_and_every_synapse(make_network: Any, make_batch: Any) -> None:
    network, block = network_of(make_network, "4SEW3")
    x = network.blocks[0](network.encode(make_batch()[0]), STEPS).detach().requires_grad_()
    block(x, STEPS, through_time=True).sum().backward()
    assert x.grad is not None
    assert (x.grad[0] != 0).any()
    for synapse in block.synapses:
        assert synapse.weight.grad is not None
        assert synapse.weight.grad.abs().sum() > 0


SPEC = "architecture.spec=4C3-4SEW3-6MS3s2-FC8-FCn"
LEARNING = ["rule=local loss=pred_sim", "rule=local loss=pred_recon", "rule=bptt", "rule=dfa"]


@pytest.mark.parametrize("overrides", LEARNING)
@pytest.mark.parametrize("update", ["accumulate", "final"])
def test_rules_that_train_them(overrides: str, update: str, make_rule: Any, make_batch: Any) -> None:
    rule = make_rule(*overrides.split(), SPEC, "trainer.steps=4", update=update)
    before = {name: p.clone() for name, p in rule.network.named_parameters() if "weight" in name}
    images, labels = make_batch(dtype=torch.float32)
    rule.step(images, labels)
    unchanged = [n for n, p in rule.network.named_parameters() if n in before and torch.equal(p, before[n])]
    assert unchanged == []
    assert rule.evaluate(images).inference.logits.shape == (len(images), 4)


@pytest.mark.parametrize("overrides", ["rule=ottt", "rule=fa", "rule=fdfa", "rule=hebb", "rule=ann2snn neuron=if"])
def test_rules_without_equations_for_them_say_so(overrides: str, make_rule: Any) -> None:
    with pytest.raises(UserError, match=r"architecture.spec: this rule has no equations for residual blocks"):
        make_rule(*overrides.split(), SPEC)


@pytest.mark.parametrize("update", ["online", "rate"])
def test_update_modes_without_equations_for_them_say_so(update: str, make_rule: Any) -> None:
    with pytest.raises(UserError, match=r"trainer.update=accumulate or final"):
        make_rule("rule=local", "loss=pred", SPEC, update=update)


def test_specification() -> None:
    first, sew, ms = parse("16C3-16SEW3-P2-32MS3s2-FCn", (1, 8, 8), 10, width=0.5)
    assert (first.shortcut, sew.shortcut, ms.shortcut) == ("none", "spikes", "membrane")
    assert (sew.units, sew.kernel, sew.stride, sew.pool) == (8, 3, 1, 2)
    assert (ms.in_shape, ms.out_shape) == ((8, 4, 4), (16, 2, 2))
    with pytest.raises(UserError, match=r"a residual block adds spikes; put a convolution before it"):
        parse("16SEW3-FCn", (1, 8, 8), 10)
    with pytest.raises(UserError, match="kernel size must be odd"):
        parse("16C3-16SEW2-FCn", (1, 8, 8), 10)
