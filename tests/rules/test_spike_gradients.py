"""Rules that bring errors back through spikes without a surrogate: spike counts and spike-based backpropagation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.neurons.lif import ONE_STEP
from snnhll.rules.spike_bp import SpikeBPRule, since_last_spike
from snnhll.rules.spike_count import SpikeCountRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def fire(current: Tensor, decay: float, v_th: float) -> Tensor:
    """Spikes of a layer with soft reset, [T, B, ...], for its currents."""
    u, spikes = torch.zeros_like(current[0]), []
    for now in current:
        u = decay * u + now
        spikes.append((u >= v_th).to(u.dtype))
        u = u - v_th * spikes[-1]
    return torch.stack(spikes)


def output_error(net: Network, rate: Tensor, labels: Tensor) -> Tensor:
    """dL/d(rate of the last layer), by the formula of softmax cross-entropy."""
    logits = rate @ net.readout.weight.t() + net.readout.bias
    return (logits.softmax(1) - F.one_hot(labels, net.classes)) / len(labels) @ net.readout.weight


def test_spike_count_gradient_is_that_of_the_coupled_net_by_hand(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    net = make_network("64-12-9-n", steps=6, decay=1.0)
    images, labels = make_batch()
    first, second = (block.synapse for block in net.blocks)
    x = ((images - 0.5) / 0.25).flatten(1)
    with torch.no_grad():
        a1 = x @ first.weight.t() + first.bias
        s1 = fire(a1.expand(6, *a1.shape), 1.0, 0.6)
        s2 = fire(s1 @ second.weight.t() + second.bias, 1.0, 0.6)
        r1, r2 = s1.mean(0), s2.mean(0)
        a2 = r1 @ second.weight.t() + second.bias
        e2 = output_error(net, r2, labels) * ((a2 > 0) & (a2 < 0.6)) / 0.6
        e1 = e2 @ second.weight * ((a1 > 0) & (a1 < 0.6)) / 0.6
        expected = [(e1.t() @ x, e1.sum(0)), (e2.t() @ r1, e2.sum(0))]
    SpikeCountRule(net, sgd).step(images, labels)
    for synapse, (weight, bias) in zip((first, second), expected, strict=True):
        assert weight.abs().max() > 1e-4
        torch.testing.assert_close(synapse.weight.grad, weight, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(synapse.bias.grad, bias, rtol=1e-9, atol=1e-12)


def test_spike_count_gradient_becomes_that_of_the_analog_net_over_many_steps(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """Rates of integrate-and-fire neurons approach the clipped activations, and the gradient theirs."""
    images, labels = make_batch()
    reference = make_network("64-12-n", decay=1.0)
    block = reference.blocks[0]
    analog = (block.current(((images - 0.5) / 0.25)[None])[0] / 0.6).clamp(0, 1)
    F.cross_entropy(reference.classify(analog), labels).backward()
    missed = []
    for steps in (4, 400):
        net = make_network("64-12-n", steps=steps, decay=1.0)
        SpikeCountRule(net, sgd).step(images, labels)
        missed.append((net.blocks[0].synapse.weight.grad - block.synapse.weight.grad).norm())
    assert missed[1] < 0.03 * missed[0]


@pytest.mark.parametrize("spec", ["64-12-n", "4C3-P2-6C3s2-FC9-n"])
@pytest.mark.parametrize("rule", [SpikeCountRule, SpikeBPRule])
def test_the_prediction_is_that_of_the_spiking_network(
    make_network: MakeNetwork, make_batch: MakeBatch, rule: Any, spec: str
) -> None:
    net = make_network(spec, decay=1.0)
    images, _ = make_batch()
    torch.testing.assert_close(rule(net, sgd).forward(images), net(images))


def test_spike_bp_gradient_by_sums_over_the_times_of_spikes(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    decay, v_th, steps = 0.8, 0.6, 5
    net = make_network("64-12-9-n", steps=steps, decay=decay)
    images, labels = make_batch()
    first, second = (block.synapse for block in net.blocks)
    x = ((images - 0.5) / 0.25).flatten(1)
    with torch.no_grad():
        s1 = fire((x @ first.weight.t() + first.bias).expand(steps, -1, -1), decay, v_th)
        s2 = fire(s1 @ second.weight.t() + second.bias, decay, v_th)
        e2 = to_currents((output_error(net, s2.mean(0), labels) / steps).expand(steps, -1, -1), s2, decay, v_th)
        e1 = to_currents(e2 @ second.weight, s1, decay, v_th)
        expected = [(torch.einsum("tbj,bi->ji", e1, x), e1), (torch.einsum("tbj,tbi->ji", e2, s1), e2)]
    SpikeBPRule(net, sgd).step(images, labels)
    for synapse, (weight, error) in zip((first, second), expected, strict=True):
        assert weight.abs().max() > 1e-3
        torch.testing.assert_close(synapse.weight.grad, weight, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(synapse.bias.grad, error.sum((0, 1)), rtol=1e-9, atol=1e-12)


def to_currents(error: Tensor, spikes: Tensor, decay: float, v_th: float) -> Tensor:
    """dL/dI[t'] from dL/ds[t], one spike after another: each gives its error to the steps since the one before."""
    steps, samples, neurons = spikes.shape
    found = torch.zeros_like(error)
    for b in range(samples):
        for j in range(neurons):
            times = spikes[:, b, j].nonzero().flatten().tolist()
            if not times:
                continue
            filtered = sum(decay ** (steps - 1 - t) for t in times)
            factor = 1 + math.log(decay) * filtered / len(times)
            for before, t in zip([-1, *times], times, strict=False):
                found[before + 1 : t + 1, b, j] += error[t, b, j] * factor / v_th
    return found


def test_since_last_spike() -> None:
    current = torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None]
    spikes = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None]
    assert since_last_spike(current, spikes).flatten().tolist() == [0.0, 3.0, 0.0, 12.0]


def test_what_they_cannot_train_is_said(make_network: MakeNetwork) -> None:
    with pytest.raises(UserError, match=r"neuron: spike_count needs integrate-and-fire with soft reset"):
        SpikeCountRule(make_network(), sgd)
    with pytest.raises(UserError, match=r"architecture\.norm: spike_count has other statistics"):
        SpikeCountRule(make_network(norm="batch", decay=1.0), sgd)
    with pytest.raises(UserError, match=r"neuron\.decay: under spike_bp a decay of 0\.2 would take away or turn"):
        SpikeBPRule(make_network(decay=0.2), sgd)
    with pytest.raises(UserError, match=r"decay of 0\.368 would take away"):  # 1 + ln decay = 0: no error passes
        SpikeBPRule(make_network(decay=ONE_STEP), sgd)
