"""Batch normalisation through time: every step by itself, against torch's own layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnhll.errors import UserError
from snnhll.networks.bntt import BNTT
from snnhll.networks.network import Network
from snnhll.ops.layout import is_channels_last
from snnhll.rules.bptt import BPTTRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

STEPS, CHANNELS = 3, 4


def one_layer_a_step(norm: BNTT, rest: int) -> list[nn.Module]:
    """torch's batch normalisation with the gains of each step."""
    kind = nn.BatchNorm1d if rest == 0 else nn.BatchNorm2d
    layers = [kind(CHANNELS, eps=norm.eps, momentum=norm.momentum).double() for _ in range(STEPS)]
    for layer, gamma in zip(layers, norm.gamma, strict=True):
        layer.weight.data.copy_(gamma)
    return layers


@pytest.mark.parametrize("shape", [(6, CHANNELS), (6, CHANNELS, 5, 2)])
@pytest.mark.parametrize("constant", [False, True])
def test_every_step_is_a_batch_normalisation_of_its_own(shape: tuple[int, ...], constant: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    norm = BNTT(CHANNELS, STEPS).double()
    norm.gamma.data = 0.5 + torch.rand(STEPS, CHANNELS, generator=draw, dtype=torch.float64)
    layers = one_layer_a_step(norm, len(shape) - 2)
    for training in (True, True, False):
        norm.train(training)
        z = 2 + 3 * torch.randn(1 if constant else STEPS, *shape, generator=draw, dtype=torch.float64)
        z.requires_grad_()
        y = norm(z)
        expected = torch.stack([layer.train(training)(z[t % len(z)]) for t, layer in enumerate(layers)])
        torch.testing.assert_close(y, expected)
        weights = torch.randn(y.shape, generator=draw, dtype=torch.float64)
        ours, theirs = (torch.autograd.grad((out * weights).sum(), z)[0] for out in (y, expected))
        torch.testing.assert_close(ours, theirs)
    for t, layer in enumerate(layers):
        torch.testing.assert_close(norm.running_mean[t], layer.running_mean)
        torch.testing.assert_close(norm.running_var[t], layer.running_var)


@pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n", "4C3-4SEW3-n", "4C3-6MS3-n"])
def test_inference_takes_the_layers_as_training_does(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str
) -> None:
    """The compiled kernels know one gain a channel; here a step has its own, and inference goes another way."""
    net, (images, labels) = make_network(spec, "bntt"), make_batch()
    rule = BPTTRule(net, lambda p: torch.optim.Adam(list(p), lr=0.05)).double()
    for _ in range(3):
        rule.step(images, labels)
    assert net.blocks[0].bntt is not None
    gains = net.blocks[0].bntt.gamma
    assert (gains[0] - gains[-1]).abs().max() > 1e-3  # a constant image, and yet steps that differ
    net.eval()
    torch.testing.assert_close(net.infer(images).logits, net(images))


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("training", [False, True])
def test_maps_keep_the_order_in_memory_that_the_compiled_kernels_walk(steps: int, training: bool) -> None:
    z = torch.rand(steps, 2, 5, 3, CHANNELS).movedim(-1, 2)
    assert is_channels_last(BNTT(CHANNELS, STEPS).train(training)(z))


def test_it_learns_what_a_net_of_one_layer_can(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    images, labels = make_batch(16)
    rule = BPTTRule(make_network("64-30-n", "bntt"), lambda p: torch.optim.Adam(list(p), lr=0.02)).double()
    history = [rule.step(images, labels) for _ in range(60)]
    assert history[-1]["correct"] == 16
    assert history[-1]["readout/pred"] < 0.3 * history[0]["readout/pred"]


@pytest.mark.parametrize(
    "chosen",
    [
        ["rule=ottt"],
        ["rule=decolle", "trainer.update=online"],
        ["rule=fdfa"],
        ["rule=ann2snn", "neuron=if"],
        ["rule=local"],
        ["rule=three_factor", "loss=hsic"],
        ["rule=stdp", "neuron=competitive", "encoding=poisson"],
        ["rule=ide", "neuron=if"],
        ["rule=spike_count", "neuron=if"],
    ],
)
def test_rules_that_know_one_layer_for_all_steps_say_so(make_rule: Any, chosen: list[str]) -> None:
    own = ["architecture=mlp", "architecture.spec=64-12-n", "architecture.norm=bntt", "architecture.dropout=0"]
    with pytest.raises(UserError, match=r"^architecture\.norm: .*[^\n]*$"):
        make_rule(*own, *chosen, update="online" if chosen == ["rule=local"] else "accumulate")
