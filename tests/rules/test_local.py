"""Local learning: nothing of a later layer changes an earlier one, and every update mode is the gradient it claims."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.assemble import Problem, make_loss
from snnhll.config import Config, compose, options
from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.loss import Activity, Batch
from snnhll.networks.block import Block
from snnhll.networks.network import Network
from snnhll.networks.spec import Layer
from snnhll.rules.local import LocalRule, Unit
from snnhll.rules.rule import Rule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
MakeRule = Callable[..., Rule]
MakeLoss = Callable[[Layer], HybridLoss]
Simulate = Callable[..., Tensor]

UPDATES = ["online", "accumulate", "final", "rate"]
LOSSES = options("loss")
SPECS = ["64-12-9-n", "4C3-P2-6C3s2-FC9-n"]
EVERY_UPDATE = pytest.mark.parametrize("update", UPDATES)
EVERY_SPEC = pytest.mark.parametrize("spec", SPECS)
ALL_TERMS = {"pred": 0.6, "sim": 0.01, "recon": 0.3, "contrast": 0.2}
PER_STEP = {"pred": 0.99, "sim": 0.01}


# Locality


def learner(make_rule: MakeRule, loss: str, update: str) -> LocalRule:
    rule = make_rule(
        f"loss={loss}",
        "optimizer=sgd",
        "optimizer.lr=0.05",
        "architecture.spec=3C3-P2-4C3-FC9-n",
        "architecture.dropout=0.2",
        "trainer.steps=3",
        update=update,
    )
    assert isinstance(rule, LocalRule)
    return rule.train()


def state(unit: Unit) -> list[Tensor]:
    """Everything a unit's learning changes: weights, statistics, heads and the optimiser's memory."""
    memory = [v for own in unit.optimizer.state.values() for v in own.values() if isinstance(v, Tensor)]
    return [*unit.block.state_dict().values(), *unit.loss.state_dict().values(), *memory]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def disturb(rule: LocalRule, first: int) -> None:
    """Give the layers from `first` on, and the readout, other weights; let them climb their loss, not descend it."""
    with torch.no_grad():
        for unit in rule.units[first:]:
            unit.block.synapse.weight.normal_()
            unit.loss.weights = {name: -3 * weight for name, weight in unit.loss.weights.items()}
        rule.network.readout.weight.normal_()


@EVERY_UPDATE
@pytest.mark.parametrize("loss", LOSSES)
def test_no_later_layer_changes_an_earlier_update(
    make_rule: MakeRule, make_batch: MakeBatch, loss: str, update: str
) -> None:
    """Bit for bit; and the layers that are disturbed do change, as all layers do by learning."""

    def train(first: int) -> LocalRule:
        rule = learner(make_rule, loss, update)
        before = copy.deepcopy([unit.block.synapse.weight for unit in rule.units])
        disturb(rule, first)
        for step in range(2):
            torch.manual_seed(step)
            rule.step(*make_batch(8, torch.float32, seed=step))
        assert not any(torch.equal(u.block.synapse.weight, w) for u, w in zip(rule.units, before, strict=True))
        return rule

    plain = train(first=3)
    for first in (1, 2):
        disturbed = train(first)
        kept = [same(state(a), state(b)) for a, b in zip(plain.units, disturbed.units, strict=True)]
        assert kept == [i < first for i in range(3)]


@pytest.mark.parametrize("what", ["weights", "loss"])
def test_each_disturbance_by_itself_reaches_its_own_layer_only(
    make_rule: MakeRule, make_batch: MakeBatch, what: str
) -> None:
    rules = [learner(make_rule, "pred_sim", "accumulate") for _ in range(2)]
    middle = rules[1].units[1]
    if what == "weights":
        with torch.no_grad():
            middle.block.synapse.weight.normal_()
    else:
        middle.loss.weights = {name: -3 * weight for name, weight in middle.loss.weights.items()}
    for rule in rules:
        for step in range(2):
            torch.manual_seed(step)
            rule.step(*make_batch(8, torch.float32, seed=step))
    plain, disturbed = rules
    assert same(state(plain.units[0]), state(disturbed.units[0]))
    assert not same(state(plain.units[1]), state(disturbed.units[1]))


@EVERY_UPDATE
def test_the_readout_teaches_no_layer(make_rule: MakeRule, make_batch: MakeBatch, update: str) -> None:
    rules = [learner(make_rule, "pred_sim", update) for _ in range(2)]
    with torch.no_grad():
        rules[1].network.readout.weight.mul_(-5)
    for rule in rules:
        torch.manual_seed(0)
        rule.step(*make_batch(8, torch.float32))
    assert all(same(state(a), state(b)) for a, b in zip(rules[0].units, rules[1].units, strict=True))
    assert not torch.equal(rules[0].network.readout.weight, rules[1].network.readout.weight)


@EVERY_UPDATE
def test_every_layer_has_an_optimiser_of_its_own_for_its_own_parameters(make_rule: MakeRule, update: str) -> None:
    rule = learner(make_rule, "pred_sim", update)
    groups = [{id(p) for group in o.param_groups for p in group["params"]} for o in rule.optimizers]
    owned = [{id(p) for p in (*u.block.parameters(), *u.loss.parameters())} for u in rule.units]
    assert groups == [*owned, {id(p) for p in rule.network.readout.parameters()}]
    assert sum(map(len, groups)) == len(list(rule.parameters()))


# The gradients, in float64. A rule's layers and heads keep in `.grad` what they descended.


@pytest.fixture(scope="module")
def config() -> Config:
    return compose(["loss=pred_sim"])


@pytest.fixture(scope="module")
def heads(config: Config, problem: Problem) -> Callable[..., MakeLoss]:
    """Weights of terms to a function that builds a layer's loss in float64, its classifier away from zero."""

    def of(weights: dict[str, float], head_size: int = 1024) -> MakeLoss:
        terms = {name: dict(term) for name, term in config["loss"]["terms"].items()}
        for name in ("pred", "sim"):
            terms[name]["head_size"] = head_size
        node = config | {"loss": config["loss"] | {"weights": weights, "terms": terms}}

        def make(layer: Layer) -> HybridLoss:
            loss = make_loss(node, problem, [], layer).double()
            for name, parameter in loss.named_parameters():
                if "classifier" in name:
                    nn.init.normal_(parameter)
            return loss

        return make

    return of


def sgd(lr: float) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(list(parameters), lr=lr)


def gradients(rule: LocalRule) -> dict[str, Tensor]:
    return {name: p.grad for name, p in rule.named_parameters() if p.grad is not None}


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        if "synapse.weight" in name:
            assert scale > 1e-6
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10 * scale + 1e-15, msg=name)


def by_hand(
    rule: LocalRule, simulate: Simulate, images: Tensor, labels: Tensor, through_time: bool, on_rates: bool
) -> dict[str, Tensor]:
    """Gradients of the sum of all layers' losses in one graph, each layer's input cut off from the layer below."""
    net = rule.network
    x = ((images - 0.5) / 0.25).expand(net.steps, *images.shape)
    targets = rule.losses[0].prepare(Batch(x[0], labels, net.classes))
    total = torch.zeros((), dtype=images.dtype)
    for unit in rule.units:
        spikes = simulate(unit.block, x, through_time)
        rate = spikes.sum(0) / net.steps
        loss, _ = unit.loss(Activity(rate.unsqueeze(0) if on_rates else spikes, rate, x.mean(0)), targets)
        assert loss is not None
        total = total + loss
        pool = unit.block.layer.pool
        x = spikes.detach() if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in spikes.detach()])
    for scores in (net.readout(x.mean(0).flatten(1)),) if on_rates else (net.readout(s.flatten(1)) for s in x):
        total = total - torch.log_softmax(scores, 1)[range(len(labels)), labels].mean()
    names, parameters = zip(*rule.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(total, parameters), strict=True))


@EVERY_SPEC
@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
@pytest.mark.parametrize(("update", "through_time", "on_rates"), [("accumulate", False, False), ("final", True, True)])
def test_accumulate_and_final_are_the_gradients_of_a_simulation(
    make_network: MakeNetwork,
    make_batch: MakeBatch,
    heads: Callable[..., MakeLoss],
    simulate: Simulate,
    spec: str,
    norm: Any,
    update: Any,
    through_time: bool,
    on_rates: bool,
) -> None:
    """All four terms at once. accumulate: no gradient through time; final: losses on rates, gradient through all T."""
    rule = LocalRule(make_network(spec, norm), heads(ALL_TERMS), sgd(0.0), update).train()
    rule.step(*make_batch())
    assert_same_gradients(gradients(rule), by_hand(rule, simulate, *make_batch(), through_time, on_rates))


@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_accumulate_with_heads_on_pooled_maps(
    make_network: MakeNetwork, make_batch: MakeBatch, heads: Callable[..., MakeLoss], simulate: Simulate, norm: Any
) -> None:
    rule = LocalRule(make_network(SPECS[1], norm), heads(PER_STEP, head_size=20), sgd(0.0), "accumulate").train()
    assert [loss.side for loss in rule.losses] == [2, 1, None]
    rule.step(*make_batch())
    expected = by_hand(rule, simulate, *make_batch(), through_time=False, on_rates=False)
    assert_same_gradients(gradients(rule), expected)


@EVERY_SPEC
@pytest.mark.parametrize("norm", ["none", "weight"])
@pytest.mark.parametrize("head_size", [1024, 20])
def test_accumulate_is_the_sum_of_the_online_gradients(
    make_network: MakeNetwork,
    make_batch: MakeBatch,
    heads: Callable[..., MakeLoss],
    spec: str,
    norm: Any,
    head_size: int,
) -> None:
    """For losses due at every step. A learning rate of 0 keeps the weights at which the online gradients are taken.

    Batch statistics differ by nature (of one step, of all), so they are left out.
    """
    make = heads(PER_STEP, head_size)
    together = LocalRule(make_network(spec, norm), make, sgd(0.0), "accumulate").train()
    online = LocalRule(make_network(spec, norm), make, sgd(0.0), "online").train()
    online.load_state_dict(together.state_dict())
    sums: dict[str, Tensor] = {}
    names = {id(p): name for name, p in online.named_parameters()}

    def collect(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            sums[names[id(p)]] = sums.get(names[id(p)], 0) + p.grad

    for optimizer in online.optimizers:
        optimizer.register_step_pre_hook(collect)
    expected_metrics, metrics = together.step(*make_batch()), online.step(*make_batch())
    assert_same_gradients(gradients(together), sums)
    for name, value in expected_metrics.items():
        torch.testing.assert_close(metrics[name].double(), value.double())


@EVERY_SPEC
def test_final_ignores_no_step(
    make_network: MakeNetwork, make_batch: MakeBatch, heads: Callable[..., MakeLoss], simulate: Simulate, spec: str
) -> None:
    """The gradient through time is there: without it, the same losses on rates have another gradient."""
    rule = LocalRule(make_network(spec), heads(PER_STEP), sgd(0.0), "final").train()
    rule.step(*make_batch())
    cut = by_hand(rule, simulate, *make_batch(), through_time=False, on_rates=True)
    name = "network.blocks.0.synapse.weight"
    assert not torch.allclose(gradients(rule)[name], cut[name], rtol=1e-3)


LR = 0.05


def online_by_hand(rule: LocalRule, images: Tensor, labels: Tensor) -> None:
    """Algorithm 3.1, online: at every t, layer after layer, one step of gradient descent on the loss at t alone.

    Spikes at t come from the weights before the update at t.
    """
    net = rule.network
    membranes: list[Any] = [0.0] * len(rule.units)
    counts: list[Any] = [0.0] * len(rule.units)
    received: list[Any] = [0.0] * len(rule.units)
    image = (images - 0.5) / 0.25
    targets = rule.losses[0].prepare(Batch(image, labels, net.classes))
    for t in range(net.steps):
        x = image
        for i, unit in enumerate(rule.units):
            spikes, membranes[i] = one_step(unit.block, x, membranes[i])
            received[i] = received[i] + x
            rate = (counts[i] + spikes) / net.steps
            counts[i] = counts[i] + spikes.detach()
            last = t == net.steps - 1
            total, _ = unit.loss(Activity(spikes.unsqueeze(0), rate, received[i] / net.steps, last), targets)
            assert total is not None
            descend([*unit.block.parameters(), *unit.loss.parameters()], total)
            pool = unit.block.layer.pool
            x = spikes.detach() if pool == 1 else F.max_pool2d(spikes.detach(), pool)
        scores = net.readout(x.flatten(1))
        descend(list(net.readout.parameters()), -torch.log_softmax(scores, 1)[range(len(labels)), labels].mean())


def one_step(block: Block, x: Tensor, v: Any) -> tuple[Tensor, Tensor]:
    settings, layer = block.neuron.compiled, block.layer
    assert settings is not None
    if layer.kind == "linear":
        current = F.linear(x.flatten(1), block.synapse.weight, block.synapse.bias)
    else:
        current = F.conv2d(x, block.synapse.weight, block.synapse.bias, layer.stride, layer.kernel // 2)
    u = settings.decay * v + current
    distance = u - settings.v_th
    stand_in = distance.sign() * (1 - torch.exp(-distance.abs()))
    fired = (distance >= 0).to(u.dtype)
    return fired + (stand_in - stand_in.detach()), (u - settings.v_th * fired).detach()


def descend(parameters: list[nn.Parameter], loss: Tensor) -> None:
    with torch.no_grad():
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            if g is not None:
                p -= LR * g


@EVERY_SPEC
def test_online_is_algorithm_3_1(
    make_network: MakeNetwork, make_batch: MakeBatch, heads: Callable[..., MakeLoss], spec: str
) -> None:
    rule = LocalRule(make_network(spec), heads(ALL_TERMS), sgd(LR), "online").train()
    hand = LocalRule(copy.deepcopy(rule.network), heads(ALL_TERMS), sgd(0.0), "online").train()
    hand.load_state_dict(rule.state_dict())
    before = copy.deepcopy(rule.state_dict())
    rule.step(*make_batch())
    online_by_hand(hand, *make_batch())
    for name, value in hand.state_dict().items():
        torch.testing.assert_close(rule.state_dict()[name], value, rtol=1e-9, atol=1e-12, msg=name)
        if name.endswith("weight"):
            assert not torch.equal(value, before[name])


@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_every_optimiser_takes_terms_that_are_due_later_than_others(
    make_rule: MakeRule, make_batch: MakeBatch, optimizer: str
) -> None:
    rule = make_rule("loss=sim_recon", f"optimizer={optimizer}", "architecture.spec=3C3-FC6-n", update="online").train()
    before = copy.deepcopy(rule.state_dict())
    rule.step(*make_batch(8, torch.float32))
    decoder = "losses.0.terms.recon.decoder.weight"
    assert not torch.equal(rule.state_dict()[decoder], before[decoder])


# What a step reports, and what it keeps


@EVERY_UPDATE
def test_metrics_name_layer_and_term(make_rule: MakeRule, make_batch: MakeBatch, update: str) -> None:
    metrics = learner(make_rule, "pred_sim_contrast", update).step(*make_batch(8, torch.float32))
    layers = [f"layer{i}/{term}" for i in (1, 2, 3) for term in ("pred", "sim", "contrast")]
    assert set(metrics) == {*layers, "readout/pred", "correct"}
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())
    assert 0 <= metrics["correct"] <= 8


@EVERY_UPDATE
def test_correct_counts_the_predictions_of_the_mean_over_time(
    make_network: MakeNetwork, make_batch: MakeBatch, heads: Callable[..., MakeLoss], update: Any
) -> None:
    rule = LocalRule(make_network("64-12-n"), heads(PER_STEP), sgd(0.0), update).train()
    images, labels = make_batch(40)
    expected = (rule.network(images).argmax(1) == labels).sum()
    assert rule.step(images, labels)["correct"] == expected


@EVERY_UPDATE
@pytest.mark.parametrize("loss", ["pred_sim_contrast", "sim_recon", "hsic"])
def test_the_graph_of_a_layer_is_gone_before_the_next_one_runs(
    make_rule: MakeRule,
    make_batch: MakeBatch,
    saved_tensors: Any,
    monkeypatch: pytest.MonkeyPatch,
    loss: str,
    update: str,
) -> None:
    rule = learner(make_rule, loss, update)
    alive: list[int] = []
    for unit in rule.units:
        forward = unit.block.synapse.forward
        monkeypatch.setattr(
            unit.block.synapse,
            "forward",
            lambda *arguments, forward=forward: (alive.append(saved_tensors.bytes), forward(*arguments))[1],
        )
    with saved_tensors:
        rule.step(*make_batch(8, torch.float32))
        assert saved_tensors.bytes == 0
    assert len(alive) == 3 * (3 if update == "online" else 1)
    assert set(alive) == {0}
    assert saved_tensors.peak > 0


@EVERY_UPDATE
def test_signals_between_layers_carry_no_graph(
    make_rule: MakeRule, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, update: str
) -> None:
    rule = learner(make_rule, "pred", update)
    inputs: list[Tensor] = []
    for unit in rule.units:
        unit.block.synapse.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    rule.network.readout.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    rule.step(*make_batch(8, torch.float32))
    assert len(inputs) >= 4
    assert not any(x.requires_grad for x in inputs)


@pytest.mark.parametrize("update", ["accumulate", "final", "rate"])
def test_the_input_is_gone_before_the_second_layer_runs(
    make_rule: MakeRule, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, update: str
) -> None:
    rule = learner(make_rule, "pred_sim", update)
    encode = rule.network.encode
    coded: list[weakref.ref[torch.UntypedStorage]] = []
    alive: list[bool] = []

    def note(images: Tensor) -> Tensor:
        made = encode(images)
        coded.append(weakref.ref(made.untyped_storage()))
        return made

    monkeypatch.setattr(rule.network, "encode", note)
    for unit in rule.units:
        unit.block.synapse.register_forward_pre_hook(lambda *_: alive.append(coded[0]() is not None))
    rule.step(*make_batch(8, torch.float32))
    assert alive == [True, False, False]


def test_heads_classify_in_evaluation(make_rule: MakeRule, make_batch: MakeBatch) -> None:
    rule = learner(make_rule, "pred_sim", "accumulate").eval()
    outcome = rule.evaluate(make_batch(8, torch.float32)[0])
    assert [logits is not None and logits.shape for logits in outcome.layer_logits] == [(8, 4)] * 3
    for logits, unit, rate in zip(outcome.layer_logits, rule.units, outcome.inference.rates, strict=True):
        torch.testing.assert_close(logits, unit.loss.logits(rate))
    without = learner(make_rule, "sim", "accumulate").eval()
    assert without.evaluate(make_batch(8, torch.float32)[0]).layer_logits == [None] * 3


@EVERY_UPDATE
@pytest.mark.parametrize("loss", ["pred_sim_contrast", "sim_recon", "contrast", "hsic"])
@pytest.mark.filterwarnings("ignore:loss hsic")
def test_awkward_batches_leave_finite_weights(
    make_rule: MakeRule, make_batch: MakeBatch, loss: str, update: str
) -> None:
    """A silent network, a batch of one class, duplicates, and the smallest batch that has statistics."""
    images, labels = make_batch(8, torch.float32)
    cases = {
        "one class": (images, torch.zeros_like(labels)),
        "duplicates": (images[:1].expand_as(images), labels),
        "two samples": (images[:2], labels[:2]),
    }
    for name, batch in cases.items():
        rule = learner(make_rule, loss, update)
        metrics = [rule.step(*batch) for _ in range(2)][-1]
        assert all(value.isfinite() for value in metrics.values()), name
        assert all(p.isfinite().all() for p in rule.parameters()), name
    silent = learner(make_rule, loss, update)
    with torch.no_grad():
        for unit in silent.units:
            assert unit.block.norm is not None
            unit.block.norm.beta.fill_(-50.0)
    for _ in range(2):
        metrics = silent.step(images, labels)
    assert all(value.isfinite() for value in metrics.values())
    assert all(p.isfinite().all() for p in silent.parameters())
