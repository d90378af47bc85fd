"""The whole network: equal to a step-by-step simulation, in every way it can be run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.neurons.lif import LIF

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

STEPS, DECAY, V_TH = 5, 0.7, 0.6
SPECS = pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n"])
NORMS = pytest.mark.parametrize("norm", ["none", "batch", "weight"])


def simulate(net: Network, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Clock-driven: every layer at t before any layer at t + 1. Logits; spikes and inputs [T, B, ...] of each layer.

    Batch normalisation is the evaluation-time affine map.
    """
    membranes: list[Any] = [0.0] * len(net.blocks)
    fired: list[Any] = [0.0] * len(net.blocks)
    spikes: list[list[Tensor]] = [[] for _ in net.blocks]
    inputs: list[list[Tensor]] = [[] for _ in range(len(net.blocks) + 1)]
    logits = torch.zeros(len(images), net.classes, dtype=images.dtype)
    for _ in range(net.steps):
        x = (images - 0.5) / 0.25
        for i, block in enumerate(net.blocks):
            inputs[i].append(x)
            weight, layer = block.synapse.weight, block.layer
            if block.synapse.gain is not None:
                rows = weight.flatten(1) - weight.flatten(1).mean(1, keepdim=True)
                weight = (rows / rows.norm(dim=1, keepdim=True)).view_as(weight) * block.synapse.gain.view(
                    -1, *(1,) * (weight.dim() - 1)
                )
            if layer.kind == "linear":
                current = x.flatten(1) @ weight.t()
            else:
                current = F.conv2d(x, weight, None, layer.stride, layer.kernel // 2)
            per_channel = (-1, *(1,) * (current.dim() - 2))
            if block.synapse.bias is not None:
                current = current + block.synapse.bias.view(per_channel)
            if block.norm is not None:
                n = block.norm
                unit = (current - n.running_mean.view(per_channel)) / (n.running_var.view(per_channel) + n.eps).sqrt()
                current = unit * n.gamma.view(per_channel) + n.beta.view(per_channel)
            u = DECAY * (membranes[i] - V_TH * fired[i]) + current
            s = (u >= V_TH).to(u.dtype)
            membranes[i], fired[i] = u, s
            spikes[i].append(s)
            x = F.max_pool2d(s, layer.pool) if layer.pool > 1 else s
        inputs[-1].append(x)
        logits = logits + x.flatten(1) @ net.readout.weight.t() + net.readout.bias
    return logits / net.steps, [torch.stack(s) for s in spikes], [torch.stack(x) for x in inputs]


def lively(net: Network, dtype: torch.dtype = torch.float64) -> Network:
    """Give every parameter and statistic a value of its own."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for block in net.blocks:
            for own in (block.synapse.bias, block.norm and block.norm.beta, block.norm and block.norm.running_mean):
                if own is not None:
                    own.copy_(0.3 * torch.randn(own.shape, generator=draw))
            for own in (block.norm and block.norm.gamma, block.norm and block.norm.running_var):
                if own is not None:
                    own.copy_(0.5 + torch.rand(own.shape, generator=draw))
    return net.eval()


@SPECS
@NORMS
@torch.no_grad()
def test_every_way_to_run_equals_a_simulation_in_time(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str, norm: Any
) -> None:
    net, (images, _) = lively(make_network(spec, norm)), make_batch()
    logits, spikes, inputs = simulate(net, images)
    assert all(0.02 < s.mean() < 0.98 for s in spikes)
    torch.testing.assert_close(net(images), logits)
    for (_, traced), expected in zip(net.traces(images), spikes, strict=True):
        assert torch.equal(traced, expected)
    assert torch.equal(net.spikes(images), inputs[-1])
    inference = net.infer(images)
    torch.testing.assert_close(inference.logits, logits)
    torch.testing.assert_close(inference.rates, [s.mean(0) for s in spikes])
    torch.testing.assert_close(inference.inputs, [x.mean(0) for x in inputs])


@SPECS
@NORMS
@torch.no_grad()
def test_float32_gives_the_same_spikes(make_network: MakeNetwork, make_batch: MakeBatch, spec: str, norm: Any) -> None:
    """The seed leaves no membrane within float32's rounding of the threshold."""
    images, _ = make_batch()
    wide = lively(make_network(spec, norm)).infer(images)
    narrow = lively(make_network(spec, norm, dtype=torch.float32)).infer(images.float())
    for rate, expected in zip(narrow.rates, wide.rates, strict=True):
        assert torch.equal((rate * STEPS).round(), (expected * STEPS).round())
    torch.testing.assert_close(narrow.logits, wide.logits.float())


@SPECS
@torch.no_grad()
def test_learnable_decay_runs_the_same_network(make_network: MakeNetwork, make_batch: MakeBatch, spec: str) -> None:
    images, _ = make_batch()
    fixed = lively(make_network(spec, "batch")).infer(images)
    learnable = lively(make_network(spec, "batch", learnable_decay=True)).infer(images)
    torch.testing.assert_close(learnable.rates, fixed.rates)
    torch.testing.assert_close(learnable.logits, fixed.logits)


@pytest.mark.parametrize("learnable", [False, True])
@torch.no_grad()
def test_bfloat16_stays_in_the_synapses_and_on_the_wires(
    make_network: MakeNetwork, make_batch: MakeBatch, learnable: bool
) -> None:
    net = make_network("4C3-P2-FC9-n", "batch", dtype=torch.bfloat16, learnable_decay=learnable).eval()
    images, _ = make_batch(dtype=torch.float32)
    inference = net.infer(images)
    assert inference.logits.dtype == torch.float32
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert [r.dtype for r in inference.rates] == [torch.float32] * 2
    seen: list[torch.dtype] = []
    handles = [
        b.synapse.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].dtype)) for b in net.blocks
    ]
    net.infer(images)
    net(images)
    for handle in handles:
        handle.remove()
    assert seen == [torch.bfloat16] * 4


def test_a_constant_input_passes_the_first_synapse_once(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, (images, _) = make_network("4C3-P2-FC9-n"), make_batch()
    lengths: list[int] = []
    for block in net.blocks:
        block.synapse.register_forward_pre_hook(lambda _, arguments: lengths.append(len(arguments[0])))
    net(images)
    net.infer(images)
    assert lengths == [1, STEPS] * 2


def test_encode_normalises_each_channel(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, (images, _) = make_network(), make_batch()
    coded = net.encode(images)
    assert coded.shape == (1, *images.shape)
    torch.testing.assert_close(coded[0], (images - 0.5) / 0.25)


def test_nothing_is_remembered_between_batches(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, (images, _) = make_network("4C3-P2-FC9-n").eval(), make_batch()
    alone = net(images)
    net(images.flip(0))
    assert torch.equal(net(images), alone)


def test_samples_of_a_batch_do_not_see_each_other_in_evaluation(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    net, (images, _) = lively(make_network("4C3-P2-FC9-n", "batch")), make_batch()
    torch.testing.assert_close(net.infer(images[3:5]).logits, net.infer(images).logits[3:5])


def test_dropout_acts_in_training_alike_at_every_step(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    net, (images, _) = make_network("64-40-n", dropout=0.5), make_batch()
    torch.manual_seed(2)
    sent = net.spikes(images)
    dropped = (sent == 0).all(0)
    net.eval()
    whole = net.spikes(images)
    fired = whole.any(0)
    assert 0.3 < (dropped & fired).sum() / fired.sum() < 0.7
    torch.testing.assert_close(sent[:, ~dropped], whole[:, ~dropped] * 2)


@pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-n"])
def test_classify_takes_any_leading_dimensions(make_network: MakeNetwork, make_batch: MakeBatch, spec: str) -> None:
    net, (images, _) = make_network(spec), make_batch()
    spikes = net.spikes(images)
    scores = net.classify(spikes)
    assert scores.shape == (STEPS, 12, 4)
    torch.testing.assert_close(scores[2], net.classify(spikes[2]))
    torch.testing.assert_close(scores.mean(0), net(images))


def test_each_layer_has_a_neuron_of_its_own(make_network: MakeNetwork) -> None:
    net = make_network("64-12-9-n", learnable_decay=True)
    logits = [b.neuron.decay_logit for b in net.blocks if isinstance(b.neuron, LIF)]
    assert len(logits) == 2
    assert logits[0] is not logits[1]


def test_readout_spans_the_pooled_maps(make_network: MakeNetwork) -> None:
    assert make_network("4C3-P2-6C3-P2-n").readout.in_features == math.prod((6, 2, 2))
