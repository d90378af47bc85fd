"""Rules that bring the output error to a layer by random weights, against recursions written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.dfa import DFARule
from snnhll.rules.fa import FARule
from snnhll.rules.fdfa import FDFARule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

SPECS = pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n"])
MLP = "64-12-10-9-n"


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def weight_gradients(net: Network) -> list[Tensor]:
    return [b.synapse.weight.grad for b in net.blocks if b.synapse.weight.grad is not None]


def by_hand(net: Network, images: Tensor, labels: Tensor, back: Callable[..., Tensor]) -> list[Tensor]:
    """Gradients of an MLP's weights by the equations, step for step, from membranes and spikes as they come.

    back: from block i, δ of the block above (None for the last) and the output error to δ at what block i sends,
    [T, B, F].
    """
    x = ((images - 0.5) / 0.25).flatten(1).expand(net.steps, -1, -1)
    received, slopes = [], []
    for block in net.blocks:
        v, spikes, psi, settings = torch.zeros(()), [], [], block.neuron.compiled
        assert settings is not None
        for t in range(net.steps):
            u = settings.decay * v + x[t] @ block.synapse.weight.t() + block.synapse.bias
            s = (u >= settings.v_th).to(u.dtype)
            v = u - settings.v_th * s
            psi.append(torch.exp(-(u - settings.v_th).abs()))
            spikes.append(s)
        received.append(x)
        slopes.append(torch.stack(psi))
        x = torch.stack(spikes)
    rate = x.mean(0)
    logits = rate @ net.readout.weight.t() + net.readout.bias
    error = (torch.softmax(logits, 1) - torch.eye(net.classes, dtype=x.dtype)[labels]) / len(labels)
    found, delta = [], None
    for i in reversed(range(len(net.blocks))):
        at_spikes = back(i, delta, error).expand_as(slopes[i]) * slopes[i]
        delta = torch.zeros_like(at_spikes)
        settings = net.blocks[i].neuron.compiled
        assert settings is not None
        carried = torch.zeros(())
        for t in reversed(range(net.steps)):  # the membrane's own decay, the only way back in time
            carried = at_spikes[t] + settings.decay * carried
            delta[t] = carried
        found.append(torch.einsum("tbo,tbi->oi", delta, received[i]).detach())
    return found[::-1]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert b.abs().max() > 1e-6
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


# Feedback alignment


@SPECS
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_fa_with_the_forward_weights_as_feedback_is_bptt(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str, norm: Any
) -> None:
    reference, net = (make_network(spec, norm).train() for _ in range(2))
    BPTTRule(reference, sgd).step(*make_batch())
    rule = FARule(net, sgd).double()
    with torch.no_grad():
        for feedback, block in zip(rule.feedback, net.blocks[1:], strict=True):
            feedback.weight.copy_(block.synapse.weight)
        rule.readout_feedback.weight.copy_(net.readout.weight)
    rule.step(*make_batch())
    for a, b in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_fa_by_hand(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, plain = make_network(MLP), make_network(MLP)
    rule = FARule(net, sgd).double()
    rule.step(*make_batch())

    def back(i: int, delta: Tensor | None, error: Tensor) -> Tensor:
        if delta is None:
            return error @ rule.readout_feedback.weight / net.steps
        return delta @ rule.feedback[i].weight

    assert_same(weight_gradients(net), by_hand(plain, *make_batch(), back))


def test_fa_aligns_the_forward_weights_with_the_feedback(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """The angle between W and B, about 90 degrees at first, falls as the network learns (Lillicrap et al.)."""
    net = make_network("64-40-n", "batch")
    rule = FARule(net, lambda p: torch.optim.SGD(list(p), lr=0.5)).double().train()

    def cosine() -> float:
        one, other = net.readout.weight.detach().flatten(), rule.readout_feedback.weight.flatten()
        return float(torch.cosine_similarity(one, other, dim=0))

    before = cosine()
    for step in range(60):
        rule.step(*make_batch(seed=step % 3))
    assert cosine() > before + 0.05


# Direct feedback alignment


def test_dfa_by_hand(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, plain = make_network(MLP), make_network(MLP)
    rule = DFARule(net, sgd).double()
    rule.step(*make_batch())

    def back(i: int, delta: Tensor | None, error: Tensor) -> Tensor:
        return error @ rule.feedback.matrices[i] / net.steps

    assert_same(weight_gradients(net), by_hand(plain, *make_batch(), back))


@SPECS
def test_last_layer_of_dfa_with_the_readouts_own_weights_is_bptt(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str
) -> None:
    reference, net = make_network(spec, "batch").train(), make_network(spec, "batch").train()
    BPTTRule(reference, sgd).step(*make_batch())
    rule = DFARule(net, sgd).double()
    with torch.no_grad():
        matrix = rule.feedback.matrices[-1]
        matrix.copy_(net.readout.weight.view_as(matrix))
    rule.step(*make_batch())
    a, b = (n.blocks[-1].synapse.weight.grad for n in (net, reference))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(net.readout.weight.grad, reference.readout.weight.grad)


def test_sparse_feedback_has_that_share_of_zeros(make_network: MakeNetwork) -> None:
    torch.manual_seed(0)
    matrices = DFARule(make_network("8C3-FC99-n"), sgd, sparsity=0.9).feedback.matrices
    zeros = torch.cat([(m == 0).flatten() for m in matrices]).float().mean()
    assert abs(zeros - 0.9) < 0.02
    assert all((m == 0).float().mean() == 0 for m in DFARule(make_network(), sgd).feedback.matrices)


@pytest.mark.parametrize("rule", [FARule, DFARule])
def test_feedback_weights_are_kept_and_never_trained(
    make_network: MakeNetwork, make_batch: MakeBatch, rule: Any
) -> None:
    learner = rule(make_network(), lambda p: torch.optim.Adam(list(p), lr=0.1)).double()
    fixed = {name: p.clone() for name, p in learner.named_parameters() if "feedback" in name}
    learner.step(*make_batch())
    now = dict(learner.named_parameters())
    assert fixed
    assert all(torch.equal(now[name], p) and name in learner.checkpoint()["module"] for name, p in fixed.items())
    assert not torch.equal(now["network.blocks.0.synapse.weight"], make_network().blocks[0].synapse.weight)


# Forward-gradient direct feedback alignment


@SPECS
@pytest.mark.parametrize("norm", ["none", "weight"])
def test_directional_derivative_is_that_of_backward_differentiation(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Callable[..., Tensor], spec: str, norm: Any
) -> None:
    net, (images, _) = make_network(spec, norm), make_batch(3)
    shapes = [block.layer.pooled_shape for block in net.blocks]
    draw = torch.Generator().manual_seed(0)
    directions = [torch.randn(3, *shape, generator=draw, dtype=torch.float64) for shape in shapes]
    shifts = [torch.zeros_like(u, requires_grad=True) for u in directions]
    x = ((images - 0.5) / 0.25).expand(net.steps, *images.shape)
    for block, shift in zip(net.blocks, shifts, strict=True):
        spikes, pool = simulate(block, x, False), block.layer.pool
        x = (spikes if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in spikes])) + shift
    y = net.readout(x.flatten(2)).mean(0)
    expected = torch.zeros_like(y)
    for c in range(net.classes):
        slopes = torch.autograd.grad(y[:, c].sum(), shifts, retain_graph=True)
        expected[:, c] = sum((s * u).flatten(1).sum(1) for s, u in zip(slopes, directions, strict=True))
    found = FDFARule(net, sgd).double().derivative(images, directions)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected.detach(), rtol=1e-8, atol=1e-10)
    # in float32, where there are compiled kernels, which know backward differentiation alone
    single = FDFARule(net, sgd).float().derivative(images.float(), [u.float() for u in directions])
    torch.testing.assert_close(single, expected.detach().float(), rtol=1e-4, atol=1e-5)


def test_feedback_follows_the_forward_weights(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """Behind the last layer there is the readout alone, so its feedback becomes the readout's weights."""
    net = make_network("64-12-9-n")
    rule = FDFARule(net, lambda p: torch.optim.SGD(list(p), lr=0.0), follow=0.02).double()
    for step in range(160):
        torch.manual_seed(step)
        rule.step(*make_batch(32, seed=step % 4))
    cosine = torch.cosine_similarity(rule.feedback.matrices[1].flatten(), net.readout.weight.detach().flatten(), dim=0)
    assert cosine > 0.9
