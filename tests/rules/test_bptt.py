"""Global surrogate-gradient backpropagation through time against an unrolled computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.rules.bptt import BPTTRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

SPECS = pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n"])


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def unrolled(
    net: Network, simulate: Callable[..., Tensor], images: Tensor, labels: Tensor, detach_reset: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """CE(y, mean over t of the readout) and its gradients through all layers and steps."""
    x = ((images - 0.5) / 0.25).expand(net.steps, *images.shape)
    for block in net.blocks:
        spikes, pool = simulate(block, x, True, detach_reset), block.layer.pool
        x = spikes if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in spikes])
    logits = sum(net.readout(s.flatten(1)) for s in x) / net.steps
    loss = -torch.log_softmax(logits, 1)[range(len(labels)), labels].mean()
    names, parameters = zip(*net.named_parameters(), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@SPECS
@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradient_is_that_of_the_unrolled_network(
    make_network: MakeNetwork,
    make_batch: MakeBatch,
    simulate: Callable[..., Tensor],
    spec: str,
    norm: Any,
    detach_reset: bool,
) -> None:
    net = make_network(spec, norm, detach_reset=detach_reset).train()
    expected_loss, expected = unrolled(net, simulate, *make_batch(), detach_reset)
    metrics = BPTTRule(net, sgd).step(*make_batch())
    torch.testing.assert_close(metrics["readout/pred"], expected_loss.detach())
    for name, parameter in net.named_parameters():
        scale = expected[name].abs().max().item()
        assert scale > 1e-9 or "bias" in name
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-10 * scale, msg=name)


@SPECS
def test_reset_gradient_matters(make_network: MakeNetwork, make_batch: MakeBatch, spec: str) -> None:
    """The option does something: the two gradients differ."""
    found = []
    for detach_reset in (True, False):
        net = make_network(spec, detach_reset=detach_reset)
        BPTTRule(net, sgd).step(*make_batch())
        found.append(net.blocks[0].synapse.weight.grad)
    assert not torch.allclose(*found, rtol=1e-3)


def test_one_optimiser_holds_all_parameters_and_no_local_head_exists(make_network: MakeNetwork) -> None:
    rule = BPTTRule(make_network(), sgd)
    (optimizer,) = rule.optimizers
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in rule.parameters()} == {id(p) for p in rule.network.parameters()}


def test_step_descends_and_counts(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, (images, labels) = make_network("4C3-P2-FC9-n", "batch"), make_batch()
    rule = BPTTRule(net, lambda p: torch.optim.Adam(list(p), lr=5e-3)).train()
    history = [rule.step(images, labels) for _ in range(40)]
    assert history[-1]["readout/pred"] < 0.7 * history[0]["readout/pred"]
    assert history[-1]["correct"] == len(labels)
    assert set(history[0]) == {"readout/pred", "correct"}


def test_later_layers_do_change_earlier_updates(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """What local rules exclude is here, so the locality tests can tell."""
    weights = []
    for perturb in (False, True):
        net = make_network()
        if perturb:
            nn.init.normal_(net.blocks[1].synapse.weight)
        BPTTRule(net, sgd).step(*make_batch())
        weights.append(net.blocks[0].synapse.weight.detach().clone())
    assert not torch.equal(*weights)


def test_evaluation_has_no_head_of_a_layer(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    rule, (images, _) = BPTTRule(make_network(), sgd).eval(), make_batch()
    outcome = rule.evaluate(images)
    assert outcome.layer_logits == [None, None]
    torch.testing.assert_close(outcome.inference.logits, rule.network(images).detach())
