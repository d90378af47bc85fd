"""Rules that learn forward in time: their traces against backpropagation through a layer's own time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.rules.decolle import DECOLLERule
from snnhll.rules.ell import ELLRule, FELLRule
from snnhll.rules.eprop import EpropRule
from snnhll.rules.ottt import OTTTRule
from snnhll.rules.sltt import SLTTRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
Simulate = Callable[..., Tensor]

SPECS = pytest.mark.parametrize("spec", ["64-12-9-n", "4C3-P2-6C3s2-FC9-n"])
ONLINE = [OTTTRule, SLTTRule, EpropRule, FELLRule, DECOLLERule]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def sent(block: Any, spikes: Tensor) -> Tensor:
    pool = block.layer.pool
    return spikes if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in spikes])


def layers_by_hand(
    net: Network, simulate: Simulate, images: Tensor, through_time: bool, cut: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Spikes and what is sent of every layer, [T, B, ...], by autograd's own graph, cut between layers or not."""
    x = ((images - 0.5) / 0.25).expand(net.steps, *images.shape)
    spikes, out = [], []
    for block in net.blocks:
        spikes.append(simulate(block, x.detach() if cut else x, through_time))
        out.append(sent(block, spikes[-1]))
        x = out[-1]
    return spikes, out


def assert_gradients(net: Network, expected: dict[str, Tensor]) -> None:
    found = dict(net.named_parameters())
    for name, gradient in expected.items():
        if "synapse.weight" in name:
            assert gradient.abs().max() > 1e-7
        torch.testing.assert_close(found[name].grad, gradient, rtol=1e-8, atol=1e-12, msg=name)


def gradients(net: Network, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))


def step_losses(net: Network, received: Tensor, labels: Tensor) -> Tensor:
    scores = [net.readout(s.flatten(1)) for s in received]
    return torch.stack([-torch.log_softmax(y, 1)[range(len(labels)), labels].mean() for y in scores]).mean()


@SPECS
@pytest.mark.parametrize("symmetric", [False, True])
def test_eprop_is_the_gradient_through_each_layers_own_time_with_broadcast_errors(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str, symmetric: bool
) -> None:
    net, plain = make_network(spec), make_network(spec)
    rule = EpropRule(net, sgd, feedback="symmetric" if symmetric else "random").double()
    images, labels = make_batch()
    rule.step(images, labels)
    _, out = layers_by_hand(plain, simulate, images, through_time=True, cut=True)
    total = step_losses(plain, out[-1].detach(), labels)
    for i, layer in enumerate(out):
        for t in range(plain.steps):
            scores = plain.readout(out[-1][t].detach().flatten(1))
            error = torch.softmax(scores, 1) - torch.eye(plain.classes, dtype=scores.dtype)[labels]
            matrix = rule.feedback.matrices[i].flatten(1)
            if symmetric and i == len(out) - 1:
                matrix = plain.readout.weight
            signal = (error @ matrix / len(labels) / plain.steps).detach()
            total = total + (signal * layer[t].flatten(1)).sum()
    assert_gradients(net, gradients(plain, total))


@pytest.mark.parametrize("spec", ["64-12-n", "4C3-P2-n", "4C3s2-n"])
def test_ottt_with_one_layer_is_bptt_of_the_losses_of_all_steps(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str
) -> None:
    net, plain = make_network(spec), make_network(spec)
    images, labels = make_batch()
    metrics = OTTTRule(net, sgd).step(images, labels)
    _, out = layers_by_hand(plain, simulate, images, through_time=True, cut=False)
    loss = step_losses(plain, out[-1], labels)
    torch.testing.assert_close(metrics["readout/pred"], loss.detach())
    assert_gradients(net, gradients(plain, loss))


@pytest.mark.parametrize("make_rule", [SLTTRule, partial(SLTTRule, backward_steps=1), EpropRule, FELLRule, DECOLLERule])
def test_the_loss_it_reports_is_that_of_all_steps(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, make_rule: Any
) -> None:
    net, plain = make_network("64-12-9-n"), make_network("64-12-9-n")
    images, labels = make_batch()
    metrics = make_rule(net, sgd).double().step(images, labels)
    _, out = layers_by_hand(plain, simulate, images, through_time=False, cut=True)
    torch.testing.assert_close(metrics["readout/pred"], step_losses(plain, out[-1], labels).detach())


def test_ottt_by_hand(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """Spatial δ of a step times the trace of what was received until then, in two layers."""
    net, plain = make_network("64-12-9-n"), make_network("64-12-9-n")
    images, labels = make_batch()
    OTTTRule(net, sgd).step(images, labels)
    one, two = plain.blocks
    settings = one.neuron.compiled
    assert settings is not None
    image = ((images - 0.5) / 0.25).flatten(1)
    v1, v2, trace1, trace2 = (torch.zeros(()) for _ in range(4))
    first, second = torch.zeros_like(one.synapse.weight), torch.zeros_like(two.synapse.weight)
    with torch.no_grad():
        for _ in range(plain.steps):
            u1 = settings.decay * v1 + image @ one.synapse.weight.t() + one.synapse.bias
            s1 = (u1 >= settings.v_th).to(u1.dtype)
            u2 = settings.decay * v2 + s1 @ two.synapse.weight.t() + two.synapse.bias
            s2 = (u2 >= settings.v_th).to(u2.dtype)
            v1, v2 = u1 - settings.v_th * s1, u2 - settings.v_th * s2
            trace1, trace2 = settings.decay * trace1 + image, settings.decay * trace2 + s1
            error = torch.softmax(plain.readout(s2), 1) - torch.eye(plain.classes, dtype=s2.dtype)[labels]
            delta2 = error @ plain.readout.weight * torch.exp(-(u2 - settings.v_th).abs())
            delta1 = delta2 @ two.synapse.weight * torch.exp(-(u1 - settings.v_th).abs())
            first += delta1.t() @ trace1 / len(labels) / plain.steps
            second += delta2.t() @ trace2 / len(labels) / plain.steps
    assert first.abs().max() > 1e-6
    torch.testing.assert_close(one_grad(net, 0), first)
    torch.testing.assert_close(one_grad(net, 1), second)


def one_grad(net: Network, i: int) -> Tensor:
    gradient = net.blocks[i].synapse.weight.grad
    assert gradient is not None
    return gradient


@SPECS
@pytest.mark.parametrize("norm", ["none", "weight"])
def test_sltt_is_backpropagation_through_layers_with_time_cut(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str, norm: Any
) -> None:
    net, plain = make_network(spec, norm), make_network(spec, norm)
    images, labels = make_batch()
    SLTTRule(net, sgd).step(images, labels)
    _, out = layers_by_hand(plain, simulate, images, through_time=False, cut=False)
    assert_gradients(net, gradients(plain, step_losses(plain, out[-1], labels)))


def test_sltt_k_learns_at_k_steps(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """The gradients of K = 1 over all choices of the step sum to that of all steps."""
    net, images, labels = make_network(), *make_batch()
    SLTTRule(net, sgd).step(images, labels)
    found: dict[int, Tensor] = {}
    for seed in range(60):
        other = make_network()
        rule = SLTTRule(other, sgd, backward_steps=1)
        torch.manual_seed(seed)
        rule.step(images, labels)
        (chosen,) = rule.chosen
        found[chosen] = one_grad(other, 0)
    assert set(found) == set(range(net.steps))
    torch.testing.assert_close(torch.stack(list(found.values())).sum(0), one_grad(net, 0))


@SPECS
def test_forward_traces_of_fell_are_the_gradient_backward_in_time_of_tsll(
    make_network: MakeNetwork, make_batch: MakeBatch, spec: str
) -> None:
    found = []
    for rule in (FELLRule, ELLRule):
        net = make_network(spec)
        options = {"temporal": True} if rule is ELLRule else {}
        learner = rule(net, sgd, **options).double()  # type: ignore[arg-type]
        for head in learner.heads:
            torch.manual_seed(3)
            torch.nn.init.normal_(head.classifier.weight)
        learner.step(*make_batch())
        found.append([one_grad(net, i) for i in range(len(net.blocks))])
    for forward, backward in zip(*found, strict=True):
        assert backward.abs().max() > 1e-6
        torch.testing.assert_close(forward, backward, rtol=1e-8, atol=1e-12)


@SPECS
@pytest.mark.parametrize("temporal", [False, True])
def test_ell_by_autograd(
    make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str, temporal: bool
) -> None:
    net, plain = make_network(spec), make_network(spec)
    images, labels = make_batch()
    rule = ELLRule(net, sgd, temporal=temporal, head_size=None).double()
    for head in rule.heads:
        torch.nn.init.normal_(head.classifier.weight)
    weights = [head.classifier.weight.detach().clone() for head in rule.heads]
    rule.step(images, labels)
    spikes, _ = layers_by_hand(plain, simulate, images, through_time=temporal, cut=True)
    total = torch.zeros((), dtype=images.dtype)
    for layer, weight in zip(spikes, weights, strict=True):
        for s in layer:
            total = total + F.cross_entropy(s.flatten(1) @ weight.t(), labels) / plain.steps
    expected = gradients(plain, total)
    assert_gradients(net, {name: g for name, g in expected.items() if "readout" not in name})


@SPECS
def test_decolle_by_autograd(make_network: MakeNetwork, make_batch: MakeBatch, simulate: Simulate, spec: str) -> None:
    net, plain = make_network(spec), make_network(spec)
    images, labels = make_batch()
    rule = DECOLLERule(net, sgd).double()
    before = {name: p.clone() for name, p in rule.heads.named_parameters()}  # type: ignore[attr-defined]
    rule.step(images, labels)
    spikes, _ = layers_by_hand(plain, simulate, images, through_time=True, cut=True)
    wanted = torch.eye(plain.classes, dtype=images.dtype)[labels]
    total = torch.zeros((), dtype=images.dtype)
    for layer, readout in zip(spikes, rule.heads, strict=True):
        for s in layer:
            off = (readout(s.flatten(1)) - wanted).abs()
            total = total + torch.where(off < 1, off.square() / 2, off - 0.5).mean()
    expected = gradients(plain, total)
    assert_gradients(net, {name: g for name, g in expected.items() if "readout" not in name})
    after = dict(rule.heads.named_parameters())  # type: ignore[attr-defined]
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("rule", ONLINE)
def test_online_updates_at_every_step(make_network: MakeNetwork, make_batch: MakeBatch, rule: Any) -> None:
    """Accumulated, the update is a single step; online, T of them, so the spikes of later steps differ."""
    weights = []
    for update in ("accumulate", "online"):
        torch.manual_seed(0)
        net = make_network("64-12-9-n")
        torch.manual_seed(1)
        counted = Counter()
        rule(net, counted, update).double().step(*make_batch())
        assert counted.steps == (1 if update == "accumulate" else net.steps)
        weights.append(net.blocks[0].synapse.weight.detach())
    assert not torch.allclose(*weights)


class Counter:
    """Makes an optimiser that counts its steps."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, parameters: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(list(parameters), lr=0.5)
        optimizer.register_step_post_hook(lambda *_: setattr(self, "steps", self.steps + 1))
        return optimizer


@pytest.mark.parametrize("rule", ONLINE)
def test_memory_does_not_grow_with_time(
    make_network: MakeNetwork, make_batch: MakeBatch, saved_tensors: Any, rule: Any
) -> None:
    peaks = []
    for steps in (3, 12):
        learner = rule(make_network("4C3-6C3-FC9-n", steps=steps), sgd).double()
        saved_tensors.peak = 0
        with saved_tensors:
            learner.step(*make_batch())
        peaks.append(saved_tensors.peak)
    assert peaks[1] == peaks[0] > 0


@pytest.mark.parametrize("update", ["final", "rate"])
def test_updates_on_rates_are_refused(make_network: MakeNetwork, update: str) -> None:
    with pytest.raises(UserError, match=rf"trainer\.update: '{update}' is on rates"):
        OTTTRule(make_network(), sgd, update)


def test_traces_need_a_fixed_decay(make_network: MakeNetwork) -> None:
    with pytest.raises(UserError, match=r"neuron: traces need lif or if with a fixed decay"):
        EpropRule(make_network(learnable_decay=True), sgd)
    SLTTRule(make_network(learnable_decay=True), sgd)


@pytest.mark.parametrize("rule", [OTTTRule, EpropRule, FELLRule, DECOLLERule])
def test_traces_need_a_soft_reset_that_gradients_skip(make_network: MakeNetwork, rule: Any) -> None:
    """Under any other, ∂u[t]/∂W is not the low-pass filtered input."""
    with pytest.raises(UserError, match=r"neuron\.reset: a hard reset would end traces"):
        rule(make_network(reset="hard"), sgd)
    with pytest.raises(UserError, match=r"neuron\.detach_reset: traces skip the reset"):
        rule(make_network(detach_reset=False), sgd)
    SLTTRule(make_network(reset="hard", detach_reset=False), sgd)


def test_more_backward_steps_than_steps_are_refused(make_network: MakeNetwork) -> None:
    with pytest.raises(UserError, match=r"rule\.backward_steps: 6 is more than trainer\.steps=5"):
        SLTTRule(make_network(), sgd, backward_steps=6)
