"""The three-factor rule is the gradient of the HSIC loss, written out (4-36), and it is local."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.encodings.direct import Direct
from snnhll.errors import UserError
from snnhll.kernels.cosine import Cosine
from snnhll.kernels.gaussian import Gaussian
from snnhll.kernels.kernel import Kernel
from snnhll.losses.hsic import HSICLoss
from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.loss import Activity, Batch
from snnhll.losses.prediction import PredictionLoss
from snnhll.networks.block import Block
from snnhll.networks.network import Network
from snnhll.networks.rates import Signal
from snnhll.networks.spec import Layer, parse
from snnhll.neurons.lif import LIF
from snnhll.rules.local import LocalRule
from snnhll.rules.rule import Rule
from snnhll.rules.three_factor import Factors, ThreeFactorRule, run, update
from snnhll.surrogates.exponential import Exponential
from snnhll.surrogates.surrogate import spike

IMAGE, CLASSES, SAMPLES, STEPS = (1, 8, 8), 4, 12, 5
SPECS = ["64-24-16-4", "4C3-P2-6C5-FC16-FC4"]
MakeLoss = Callable[[Layer], HybridLoss]


def network(spec: str, norm: Any = "none", dtype: torch.dtype = torch.float64) -> Network:
    torch.manual_seed(0)
    mean, std = torch.tensor([0.5]), torch.tensor([0.3])
    layers = parse(spec, IMAGE, CLASSES)
    net = Network(
        layers, CLASSES, STEPS, Direct(), lambda: LIF(Exponential(), 0.8, 0.45), mean, std, norm, precision=dtype
    )
    return net.to(dtype)


def data(samples: int = SAMPLES, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    images = torch.rand(samples, *IMAGE, generator=torch.Generator().manual_seed(1)).to(dtype)
    return images, torch.arange(samples) % CLASSES


def hsic_loss(weight: float = 1.0, **settings: Any) -> MakeLoss:
    kernel = settings.pop("kernel", Gaussian())
    settings = {"size": 6, **settings}
    return lambda layer: HybridLoss({"hsic": HSICLoss(kernel, **settings)}, {"hsic": weight})


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def gradients(rule: Rule) -> dict[str, Tensor]:
    return {name: p.grad for name, p in rule.network.blocks.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("features", ["flat", "pool", "group", "deviation"])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("objective", ["xz", "zz"])
@pytest.mark.parametrize("spec", SPECS)
def test_equals_autograd_of_the_same_loss(spec: str, objective: Any, norm: Any, features: Any) -> None:
    loss = hsic_loss(0.7, objective=objective, features=features)
    net = network(spec, norm)
    explicit = ThreeFactorRule(copy.deepcopy(net), loss, sgd)
    automatic = LocalRule(copy.deepcopy(net), loss, sgd, update="rate")
    explicit_metrics, automatic_metrics = explicit.step(*data()), automatic.step(*data())
    expected = gradients(automatic)
    assert len(expected) == (3 if norm == "batch" else 2) * len(net.blocks)
    assert all(g.abs().max() > 1e-9 for name, g in expected.items() if name.endswith("weight"))
    torch.testing.assert_close(gradients(explicit), expected, rtol=1e-9, atol=1e-14)
    for name, metric in automatic_metrics.items():
        torch.testing.assert_close(explicit_metrics[name], metric)


@pytest.mark.parametrize("estimator", ["approximate", "biased", "unbiased"])
@pytest.mark.parametrize("bandwidth", ["fixed", "dimension", "median"])
def test_equals_autograd_for_every_estimator_and_bandwidth(estimator: Any, bandwidth: Any) -> None:
    loss = hsic_loss(kernel=Gaussian(2.0, bandwidth), estimator=estimator, objective="xz", label_kernel="same")
    net = network(SPECS[0])
    explicit = ThreeFactorRule(copy.deepcopy(net), loss, sgd)
    automatic = LocalRule(copy.deepcopy(net), loss, sgd, update="rate")
    explicit.step(*data())
    automatic.step(*data())
    torch.testing.assert_close(gradients(explicit), gradients(automatic), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("objective", ["xz", "zz"])
@pytest.mark.parametrize("spec", SPECS)
def test_slope_of_the_rate_equals_autograd_through_a_rate_neuron(spec: str, objective: Any, norm: Any) -> None:
    """The neuron is replaced by its rate, with derivative F'(W p - v_th), as (4-36) has it."""
    net, (images, labels) = network(spec, norm), data()
    loss = HSICLoss(Gaussian(), objective, size=6)
    target = loss.prepare(Batch(net.normalised(images), labels, CLASSES))
    rule = ThreeFactorRule(copy.deepcopy(net), hsic_loss(objective=objective), sgd, slope="rate")
    rule.step(images, labels)
    signal = Signal(net.encode(images))
    for i, block in enumerate(net.blocks):
        neuron = block.neuron
        assert isinstance(neuron, LIF)
        with torch.no_grad():
            rate, _, _, outgoing = run(copy.deepcopy(block), signal, STEPS, "rate")
        fired = spike(mean_current(block, signal) - neuron.settings.v_th, neuron.surrogate)
        seen = rate + (fired - fired.detach())
        parameters = dict(block.named_parameters())
        values = torch.autograd.grad(
            loss(Activity(seen.unsqueeze(0), seen, signal.rate), target), list(parameters.values())
        )
        updated = dict(rule.network.blocks[i].named_parameters())
        for name, gradient in zip(parameters, values, strict=True):
            torch.testing.assert_close(updated[name].grad, gradient, rtol=1e-8, atol=1e-14)
        signal = outgoing


def mean_current(block: Block, signal: Signal) -> Tensor:
    """Mean over time of the current; its gradient sees the rate, its normalisation the statistics of every step."""
    mean = block.synapse(signal.rate.unsqueeze(0))
    if block.norm is None:
        return mean[0]
    z = block.synapse(signal.spikes).detach() + (mean - mean.detach())
    return block.norm(z).mean(0)


@pytest.mark.parametrize("objective", ["xz", "zz"])
def test_equals_the_printed_sum_over_pairs(objective: Any) -> None:
    """(4-36) term by term: third factor, postsynaptic difference, presynaptic difference."""
    block, factors, loss = one_layer(objective)
    update(block, loss.features, factors, None)
    pre, post, slope, third = factors
    expected = torch.zeros_like(block.synapse.weight)
    for i in range(SAMPLES):
        for j in range(SAMPLES):
            presynaptic = slope[i, :, None] * pre[i] - slope[j, :, None] * pre[j]
            expected -= third[i, j] * (post[i] - post[j])[:, None] * presynaptic
    torch.testing.assert_close(block.synapse.weight.grad, expected)


def one_layer(objective: Any = "zz") -> tuple[Block, Factors, HSICLoss]:
    """A layer of 7 neurons and 9 inputs, and factors that fit it."""
    generator = torch.Generator().manual_seed(3)
    block = Block(Layer("linear", (9,), 7), LIF(Exponential()), "none", 0.0).double()
    pre, post, slope = (torch.rand(SAMPLES, n, dtype=torch.float64, generator=generator) for n in (9, 7, 7))
    loss = HSICLoss(Gaussian(), objective, features="flat")
    target = loss.prepare(Batch(torch.rand(SAMPLES, 1, 3, 3, dtype=torch.float64, generator=generator), data()[1], 4))
    K = loss.similarity(post)
    return block, Factors(pre, post, slope, loss.slope(K, target) * K / Gaussian().variance(post)), loss


def test_a_synapse_needs_only_its_own_two_neurons_and_the_third_factor() -> None:
    block, factors, loss = one_layer()
    update(block, loss.features, factors, None)
    whole = block.synapse.weight.grad
    assert whole is not None
    neuron, source = 4, 2
    alone = Block(Layer("linear", (1,), 1), LIF(Exponential()), "none", 0.0).double()
    pair = Factors(factors.pre[:, [source]], factors.post[:, [neuron]], factors.slope[:, [neuron]], factors.third)
    update(alone, loss.features, pair, None)
    torch.testing.assert_close(alone.synapse.weight.grad, whole[[neuron]][:, [source]])


def test_to_look_at_the_factors_moves_no_statistics() -> None:
    rule = ThreeFactorRule(network(SPECS[0], "batch"), hsic_loss(), sgd).train()
    before = copy.deepcopy(rule.state_dict())
    assert len(list(rule.factors(*data()))) == 2
    for name, value in rule.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("spec", SPECS)
def test_the_factors_can_be_looked_at_and_are_those_of_the_update(spec: str) -> None:
    rule = ThreeFactorRule(network(spec), hsic_loss(), sgd)
    before = copy.deepcopy(rule.network)
    seen = dict(rule.factors(*data()))
    for p, q in zip(before.parameters(), rule.network.parameters(), strict=True):
        assert torch.equal(p, q)
    rule.step(*data())
    for block, (name, factors) in zip(rule.network.blocks, seen.items(), strict=True):
        learned = block.synapse.weight.grad
        assert learned is not None, name
        again = copy.deepcopy(block)
        update(again, HSICLoss(Gaussian(), size=6).features, factors, None)
        assert factors.third.shape == (SAMPLES, SAMPLES)
        torch.testing.assert_close(again.synapse.weight.grad, learned)


def test_a_layer_does_not_depend_on_the_layers_above_it() -> None:
    net = network(SPECS[0])
    other = copy.deepcopy(net)
    torch.nn.init.normal_(other.blocks[1].synapse.weight)
    torch.nn.init.normal_(other.readout.weight)
    rules = [ThreeFactorRule(n, hsic_loss(), sgd) for n in (net, other)]
    for rule in rules:
        rule.step(*data())
    first, second = (rule.network.blocks[0].synapse.weight for rule in rules)
    assert torch.equal(first, second)
    assert not torch.equal(rules[0].network.blocks[1].synapse.weight, rules[1].network.blocks[1].synapse.weight)


def test_no_graph_is_built_in_the_spiking_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the linear readout calls backward."""
    net = network(SPECS[0])
    roots: list[Tensor] = []
    backward = Tensor.backward
    monkeypatch.setattr(Tensor, "backward", lambda self, *args: (roots.append(self), backward(self, *args))[1])
    ThreeFactorRule(net, hsic_loss(), sgd).step(*data())
    assert len(roots) == 1
    reached, stack = set(), [roots[0].grad_fn]
    while stack:
        node = stack.pop()
        if node is not None:
            reached.add(getattr(node, "variable", None))
            stack += [parent for parent, _ in node.next_functions]
    assert reached >= set(net.readout.parameters())
    assert not reached & set(net.blocks.parameters())


def test_a_step_lowers_the_loss_of_every_layer() -> None:
    rule = ThreeFactorRule(network(SPECS[0], "batch"), hsic_loss(), lambda p: torch.optim.Adam(p, lr=5e-3))
    history = [rule.step(*data()) for _ in range(60)]
    for layer in ("layer1/hsic", "layer2/hsic"):
        assert history[-1][layer] < history[0][layer]


def awkward(case: str, net: Network) -> tuple[Tensor, Tensor]:
    """A batch that a kernel may break on; for "silent" the network's weights are taken away."""
    images, labels = data(dtype=torch.float32)
    if case == "silent":
        for block in net.blocks:
            torch.nn.init.zeros_(block.synapse.weight)
    return {
        "silent": (torch.zeros_like(images), labels),
        "duplicates": (images[:1].expand_as(images), labels),
        "one class": (images, torch.zeros_like(labels)),
        "one sample": (images[:1], labels[:1]),
    }[case]


@pytest.mark.parametrize("sigma", [1.0, 1e-4])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("case", ["silent", "duplicates", "one class", "one sample"])
def test_weights_stay_finite_on_awkward_batches(case: str, spec: str, norm: Any, sigma: float) -> None:
    net = network(spec, norm, torch.float32)
    images, labels = awkward(case, net)
    kernel = Gaussian(sigma, "fixed" if sigma < 1 else "median")
    rule = ThreeFactorRule(net, hsic_loss(kernel=kernel), sgd)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            metrics = rule.step(images, labels)
    assert all(value.isfinite() for value in metrics.values())
    assert all(p.isfinite().all() for p in rule.parameters())


@pytest.mark.parametrize("update", ["online", "accumulate", "final", "rate"])
@pytest.mark.parametrize("kernel", [Gaussian(1e-4, "fixed"), Cosine(centred=True)], ids=str)
@pytest.mark.parametrize("case", ["silent", "duplicates", "one class", "one sample"])
def test_weights_stay_finite_by_autograd_too(case: str, kernel: Kernel, update: Any) -> None:
    # statistics of a batch need two samples, so `Data` never ends an epoch with one
    net = network(SPECS[1], "none" if case == "one sample" else "batch", torch.float32)
    images, labels = awkward(case, net)
    rule = LocalRule(net, hsic_loss(kernel=kernel), lambda p: torch.optim.AdamW(p, lr=0.1), update)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            metrics = rule.step(images, labels)
    assert all(value.isfinite() for value in metrics.values())
    assert all(p.isfinite().all() for p in rule.parameters())
    for similarity in rule.similarities(images, labels):
        assert all(math.isfinite(number) for number in similarity.numbers.values())


def test_a_width_that_underflows_is_warned_about_by_name() -> None:
    rule = ThreeFactorRule(network(SPECS[0]), hsic_loss(kernel=Gaussian(1e-5, "fixed")), sgd)
    with pytest.warns(UserWarning, match=r"hsic.*Gaussian\(sigma=1e-05.*identity"):
        rule.step(*data())


def test_what_has_no_three_factor_form_is_refused() -> None:
    with pytest.raises(UserError, match=r"kernel: 'cosine' has no three-factor form; use kernel=gaussian"):
        ThreeFactorRule(network(SPECS[0]), hsic_loss(kernel=Cosine()), sgd)
    with pytest.raises(UserError, match="norm: 'weight'"):
        ThreeFactorRule(network(SPECS[0], "weight"), hsic_loss(), sgd)
    with pytest.raises(UserError, match=r"needs loss=hsic alone, got the terms pred"):
        ThreeFactorRule(
            network(SPECS[0]), lambda layer: HybridLoss({"pred": PredictionLoss(layer, 4)}, {"pred": 1.0}), sgd
        )
