"""Conversion: the rates of the spiking network are the analog activations over their scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.rules.ann2snn import ANN2SNNRule, top

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(list(parameters), lr=5e-3)


def converted(make_network: MakeNetwork, make_batch: MakeBatch, spec: str, norm: str, **options: Any) -> ANN2SNNRule:
    net = make_network(spec, norm, steps=400, decay=1.0)
    rule = ANN2SNNRule(net, adam, **options).double().train()
    for step in range(60):
        rule.step(*make_batch(seed=step % 3))
    return rule.eval()


@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
@pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-6C3s2-FC9-n"])
def test_rates_are_the_activations_over_their_scale(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str, norm: str
) -> None:
    rule = converted(make_network, make_batch, spec, norm, percentile=100.0)
    images, _ = make_batch()
    inference = rule.network.infer(images)
    x = rule.ann.encode(images).mean(0)
    for block, scale, rate in zip(rule.ann.blocks, rule.scales, inference.rates, strict=True):
        x = block.current(x.unsqueeze(0))[0].clamp(0, float(scale))  # rates above 1 do not exist
        assert rate.max() > 0.2
        # each layer rounds to a spike in 400 and hears the rounding of those before it
        torch.testing.assert_close(rate, x / scale, rtol=0, atol=0.03)
    torch.testing.assert_close(inference.logits, rule.ann.classify(x), rtol=0, atol=0.1)
    assert torch.equal(inference.logits.argmax(1), rule.ann.classify(x).argmax(1))


def test_shift_rounds_where_rates_were_rounded_down(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    missed = []
    for shift in (False, True):
        torch.manual_seed(0)
        rule = converted(make_network, make_batch, "64-30-n", "none", shift=shift, percentile=100.0)
        images, _ = make_batch()
        (rate,) = rule.network.infer(images).rates
        a = rule.ann.blocks[0].current(rule.ann.encode(images))[0].detach() / rule.scales[0]
        missed.append(float((rate - a)[(a > 0) & (a < 1)].mean()))
    assert missed[0] == pytest.approx(-0.5 / 400, rel=0.2)  # half a spike in 400 steps
    assert abs(missed[1]) < abs(missed[0]) / 5


def test_a_percentile_cuts_the_highest_activations_off() -> None:
    values = torch.arange(1.0, 1001.0)[torch.randperm(1000)].view(10, 100)
    assert top(values, 100) == 1000
    assert top(values, 99) == 990
    assert top(values, 50) == 500


def test_evaluation_uses_the_converted_weights_and_training_goes_on_with_the_others(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    rule = ANN2SNNRule(make_network(decay=1.0), adam).double()
    rule.step(*make_batch())
    assert torch.equal(rule.network.blocks[0].synapse.weight, make_network().blocks[0].synapse.weight)
    rule.eval()
    first = rule.network.blocks[0].synapse.weight.clone()
    rule.train().eval()
    assert torch.equal(rule.network.blocks[0].synapse.weight, first)  # converting twice scales once
    other = ANN2SNNRule(make_network(decay=1.0, seed=5), adam).double()
    other.load_state_dict(rule.state_dict())
    images, _ = make_batch()
    assert torch.equal(other.eval().evaluate(images).inference.logits, rule.evaluate(images).inference.logits)


@pytest.mark.parametrize("neuron", [{"decay": 0.9}, {"decay": 1.0, "reset": "hard"}])
def test_other_neurons_are_refused(make_network: MakeNetwork, neuron: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="neuron: ann2snn needs integrate-and-fire with soft reset"):
        ANN2SNNRule(make_network(**neuron), adam)
