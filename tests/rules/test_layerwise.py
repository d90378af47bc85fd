"""Rules under which a layer learns by itself: Hebb, Oja, reward propagation, GLSNN, forward-forward, the control."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.rules.brp import BRPRule
from snnhll.rules.forward_forward import ForwardForwardRule
from snnhll.rules.frozen import FrozenRule
from snnhll.rules.glsnn import GLSNNRule
from snnhll.rules.hebb import HebbRule
from snnhll.rules.pieces import in_pieces

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
Simulate = Callable[..., Tensor]

SPECS = pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n"])


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def moved(net: Network, before: list[Tensor]) -> list[Tensor]:
    """How far every weight went, over the learning rate of `sgd`."""
    return [(b.synapse.weight.detach() - w) / 0.1 for b, w in zip(net.blocks, before, strict=True)]


def weights(net: Network) -> list[Tensor]:
    return [b.synapse.weight.detach().clone() for b in net.blocks]


def patches(block: Any, x: Tensor) -> Tensor:
    """What each output position of a layer sees, [N, inputs], for input rates [B, ...]."""
    if block.layer.kind == "linear":
        return x.flatten(1)
    k = block.layer.kernel
    return F.unfold(x, k, padding=k // 2, stride=block.layer.stride).transpose(1, 2).flatten(0, 1)


def outputs(y: Tensor) -> Tensor:
    """[N, units], in the order of `patches`."""
    return y.flatten(2).transpose(1, 2).flatten(0, 1) if y.dim() > 2 else y


GIVEN_UP: dict[Any, Callable[[int, int], bool]] = {  # whether neuron j gives up the part of the input of neuron k
    "none": lambda j, k: False,
    "oja": lambda j, k: k == j,
    "sanger": lambda j, k: k <= j,
    "subspace": lambda j, k: True,
}


@SPECS
@pytest.mark.parametrize("decay", GIVEN_UP)
def test_hebb_and_its_decays_write_their_equations(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str, decay: Any
) -> None:
    net, (images, labels) = make_network(spec), make_batch()
    before, pieces = weights(net), in_pieces(net, images, False)
    HebbRule(net, sgd, decay, rate=0.1).double().step(images, labels)
    for block, weight, piece, change in zip(net.blocks, before, pieces, moved(net, before), strict=True):
        x, y = patches(block, piece.source.mean(0)), outputs(piece.spikes.mean(0).detach())
        expected = torch.zeros_like(weight.flatten(1))
        n, rows = len(weight), weight.flatten(1)
        claimed = torch.tensor([[GIVEN_UP[decay](j, k) for k in range(n)] for j in range(n)]).to(rows.dtype)
        for seen, said in zip(x, y, strict=True):
            expected += said[:, None] * (seen[None] - (claimed * said[None]) @ rows)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(change.flatten(1), expected / len(x), rtol=1e-8, atol=1e-10)


def test_oja_bounds_the_weights_where_hebb_lets_them_grow(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    norms = []
    decays: list[Any] = ["none", "oja"]
    for decay in decays:
        net = make_network("64-12-n", "batch")
        rule = HebbRule(net, sgd, decay, rate=0.5).double()
        for step in range(200):
            rule.step(*make_batch(seed=step % 5))
        norms.append(net.blocks[0].synapse.weight.norm(dim=1).max().item())
    assert norms[0] > 5 * norms[1]


@pytest.mark.parametrize("decay", ["oja", "sanger", "subspace"])
def test_competing_neurons_come_to_differ(make_network: MakeNetwork, make_batch: MakeBatch, decay: Any) -> None:
    """The cosine of the rows of W after learning from one batch: near one under Oja's rule alone."""
    net = make_network("64-6-n", decay=1.0, v_th=0.1)
    rule = HebbRule(net, sgd, decay, rate=0.02).double()
    images, labels = make_batch()
    for _ in range(400):
        rule.step(images, labels)
    rows = F.normalize(net.blocks[0].synapse.weight.detach(), dim=1)
    alike = (rows @ rows.t()).abs().fill_diagonal_(0).max()
    assert (alike > 0.95) == (decay == "oja")


@pytest.mark.parametrize("rule", [HebbRule, partial(GLSNNRule, derivative=False)])
def test_standardised_weights_are_refused_where_a_rule_writes_weights(make_network: MakeNetwork, rule: Any) -> None:
    with pytest.raises(UserError, match=r"architecture\.norm: 'weight' rescales what (Hebb's rule|glsnn) writes"):
        rule(make_network(norm="weight"), sgd)


@SPECS
def test_reward_propagation_by_autograd(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str
) -> None:
    net, plain = make_network(spec), make_network(spec)
    images, labels = make_batch()
    rule = BRPRule(net, sgd).double()
    rule.step(images, labels)
    x = ((images - 0.5) / 0.25).expand(plain.steps, *images.shape)
    for block, learned, pattern in zip(plain.blocks, net.blocks, rule.patterns, strict=True):
        spikes, pool = simulate(block, x, False), block.layer.pool
        target = torch.einsum("bc,c...->b...", torch.eye(plain.classes, dtype=x.dtype)[labels], pattern)
        loss = ((spikes.sum(0) / plain.steps - target) ** 2).sum() / 2 / len(labels)
        (expected,) = torch.autograd.grad(loss, block.synapse.weight)
        torch.testing.assert_close(learned.synapse.weight.grad, expected, rtol=1e-9, atol=1e-12)
        sent = spikes.detach()
        x = sent if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in sent])


@SPECS
def test_glsnn_descends_the_squared_distance_to_its_target_rates(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str
) -> None:
    net, plain = make_network(spec), make_network(spec)
    images, labels = make_batch()
    rule = GLSNNRule(net, sgd, step_size=0.5).double()
    sent = in_pieces(plain, images, False)[-1].sent.detach().mean(0)
    error = torch.softmax(plain.readout(sent.flatten(1)), 1).detach() - torch.eye(4, dtype=images.dtype)[labels]
    rule.step(images, labels)
    x = ((images - 0.5) / 0.25).expand(plain.steps, *images.shape)
    for block, learned, feedback in zip(plain.blocks, net.blocks, rule.feedback.matrices, strict=True):
        spikes, pool = simulate(block, x, False), block.layer.pool
        sent = spikes if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in spikes])
        rate = sent.mean(0)
        target = rate.detach() - 0.5 * torch.einsum("bc,c...->b...", error, feedback)
        loss = ((rate - target) ** 2).sum() / 2 / len(labels)
        (expected,) = torch.autograd.grad(loss, block.synapse.weight)
        torch.testing.assert_close(learned.synapse.weight.grad, expected, rtol=1e-9, atol=1e-12)
        x = sent.detach()


def test_glsnn_without_derivative_moves_weights_by_target_difference_times_presynaptic_rate(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    net, (images, labels) = make_network("64-12-9-n"), make_batch()
    before, pieces = weights(net), in_pieces(net, images, False)
    rule = GLSNNRule(net, sgd, step_size=0.5, derivative=False).double()
    error = torch.softmax(net.readout(pieces[-1].spikes.mean(0)), 1) - torch.eye(4, dtype=images.dtype)[labels]
    rule.step(images, labels)
    for i, (piece, change) in enumerate(zip(pieces, moved(net, before), strict=True)):
        rate = piece.spikes.mean(0)
        target = rate - 0.5 * error @ rule.feedback.matrices[i]
        expected = (target - rate).t() @ piece.source.mean(0).flatten(1) / len(labels)
        torch.testing.assert_close(change, expected.detach(), rtol=1e-8, atol=1e-10)


def test_glsnn_spreads_what_misses_at_a_pooled_rate_over_its_window(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """Pooling by 3 of 8x8 maps drops the last two rows and columns: their neurons miss nothing."""
    net, (images, labels) = make_network("2C1-P3-n"), make_batch(3)
    before, (piece,) = weights(net), in_pieces(net, images, False)
    rule = GLSNNRule(net, sgd, derivative=False).double()
    error = torch.softmax(net.readout(piece.sent.mean(0).flatten(1)), 1) - torch.eye(4, dtype=images.dtype)[labels]
    rule.step(images, labels)
    missing = torch.einsum("bc,cijk->bijk", error, rule.feedback.matrices[0]) / 3
    pre = piece.source.mean(0)
    expected = torch.zeros(2, dtype=images.dtype)
    for row in range(6):
        for column in range(6):
            expected -= (missing[:, :, row // 3, column // 3] * pre[:, :, row, column]).sum(0)
    torch.testing.assert_close(moved(net, before)[0].flatten(), expected.detach(), rtol=1e-8, atol=1e-10)


def test_forward_forward_raises_goodness_of_right_and_lowers_that_of_wrong_labels(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    net, (images, labels) = make_network("64-40-30-n", "batch"), make_batch()
    rule = ForwardForwardRule(net, lambda p: torch.optim.Adam(list(p), lr=0.01)).double().train()
    history = [rule.step(images, labels) for _ in range(60)]
    for layer in ("layer1/goodness", "layer2/goodness"):
        assert history[-1][layer] < 0.5 * history[0][layer]

    def goodness(shift: int) -> Tensor:
        pieces = in_pieces(net, rule.write(images, (labels + shift) % 4), False)
        return torch.stack([p.spikes.mean(0).square().sum(1).mean() for p in pieces])

    assert all(goodness(0) > goodness(2))


@pytest.mark.parametrize("norm", ["batch", "bntt"])
def test_under_forward_forward_statistics_follow_plain_images_alone(
    make_network: MakeNetwork, make_batch: MakeBatch, norm: str
) -> None:
    """They are what evaluation normalises by, which never sees a label in an image."""
    net, (images, labels) = make_network("64-12-9-n", norm), make_batch()
    rule = ForwardForwardRule(net, lambda p: torch.optim.SGD(list(p), lr=0.0)).double().train()
    alone = copy.deepcopy(net)
    with torch.no_grad():
        in_pieces(alone, images, False)
    rule.step(images, labels)
    moved = {name: buffer for name, buffer in net.named_buffers() if "running" in name}
    assert len(moved) == 4
    for name, buffer in alone.named_buffers():
        if name in moved:
            torch.testing.assert_close(moved[name], buffer)


def test_forward_forward_writes_the_label_into_the_first_pixels(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    rule = ForwardForwardRule(make_network(), sgd)
    images, labels = make_batch()
    written = rule.write(images, labels)
    assert torch.equal(written[:, 0, 0, :4], torch.eye(4, dtype=images.dtype)[labels])
    assert torch.equal(written.flatten(1)[:, 4:], images.flatten(1)[:, 4:])
    with pytest.raises(UserError, match="3 pixels are too few for 4 classes"):
        rule.write(images[:, :, :1, :3], labels)


def test_frozen_layers_stay_and_the_readout_learns(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net = make_network()
    before = {name: p.clone() for name, p in net.named_parameters()}
    FrozenRule(net, sgd).step(*make_batch())
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"readout.weight", "readout.bias"}
