"""Evaluation and operation counts against counting by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from snnhll.metrics import Evaluation, connections, energy, evaluate, operations
from snnhll.networks.network import Inference, Network
from snnhll.rules.rule import Metrics, Outcome, Rule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

CLASSES = 3


class Scripted(Rule):
    """Says what its images hold: the predicted class, the class by its head, then the rates of two neurons."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.modes: list[bool] = []

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        raise NotImplementedError

    def evaluate(self, images: Tensor) -> Outcome:
        self.modes.append(self.training)
        said = images.flatten(1)
        scores = torch.nn.functional.one_hot(said[:, 0].long(), CLASSES).float()
        head = torch.nn.functional.one_hot(said[:, 1].long(), CLASSES).float()
        rates = [said[:, 2:], said[:, 2:].view(-1, 2, 1, 1)]
        inputs = [said[:, :1] - 1, said[:, 2:3], said[:, 3:]]
        return Outcome(Inference(scores, rates, inputs, rates), [head, None])


#        said, head, rates     label
SCRIPT = [
    ([0, 0, 1.0, 0.0], 0),
    ([1, 0, 1.0, 0.0], 1),
    ([2, 2, 0.9, 0.0], 1),
    ([2, 1, 1.0, 0.0], 2),
    ([0, 0, 1.0, 0.0], 0),
]


def batches(size: int) -> list[tuple[Tensor, Tensor]]:
    images = torch.tensor([said for said, _ in SCRIPT]).view(-1, 1, 2, 2)
    labels = torch.tensor([label for _, label in SCRIPT])
    return list(zip(images.split(size), labels.split(size), strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_counts_do_not_depend_on_the_batches(make_network: MakeNetwork, size: int) -> None:
    found = evaluate(Scripted(make_network()), batches(size), CLASSES)
    assert found.accuracy == 4 / 5
    assert found.layer_accuracy == [2 / 5, None, 4 / 5]
    assert found.confusion == [[2, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert found.rates == pytest.approx([0.98 / 2] * 2)
    assert found.silent == [0.5, 0.5]
    assert found.saturated == [0.5, 0.5]
    assert found.inputs == pytest.approx([4 / 5, 0.98, 0.0])


def test_saturated_means_95_percent_of_the_steps(make_network: MakeNetwork) -> None:
    low = [(torch.tensor([0, 0, 0.94, 1e-6]).view(1, 1, 2, 2), torch.tensor([0]))]
    found = evaluate(Scripted(make_network()), low, CLASSES)
    assert found.saturated == [0.0, 0.0]
    assert found.silent == [0.0, 0.0]


@torch.no_grad()
@pytest.mark.parametrize(
    ("first", "second", "rates", "silent", "saturated"),
    [
        (0.4, 0.4, [0.5, 0.5], [0.0, 0.0], [0.0, 0.0]),  # each fires at every other step, together once a step
        (0.6, 0.4, [1.0, 0.5], [0.0, 0.0], [1.0, 0.0]),
        (0.6, 0.0, [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]),  # the block sends what the layer before it sent
    ],
)
def test_spikes_that_a_shortcut_adds_are_not_counted_as_those_of_the_block(
    make_network: MakeNetwork,
    make_batch: MakeBatch,
    first: float,
    second: float,
    rates: list[float],
    silent: list[float],
    saturated: list[float],
) -> None:
    """Neurons on nothing but a constant current, with a threshold of 0.6 and a decay of 0.7."""
    net = make_network("4C3-4SEW3-n", steps=4)
    for parameter in net.parameters():
        parameter.zero_()
    for block, current in zip(net.blocks, (first, second), strict=True):
        assert block.synapse.bias is not None
        block.synapse.bias.fill_(current)
    found = evaluate(Evaluator(net), [make_batch()], 4)
    assert (found.rates, found.silent, found.saturated) == (rates, silent, saturated)
    assert found.inputs[-1] == sum(rates)  # what is sent on is still counted whole


@pytest.mark.parametrize("training", [True, False])
def test_evaluates_in_evaluation_mode_and_leaves_the_mode_as_it_was(make_network: MakeNetwork, training: bool) -> None:
    rule = Scripted(make_network()).train(training)
    evaluate(rule, batches(2), CLASSES)
    assert rule.modes == [False] * 3
    assert rule.training is training


def test_an_empty_split_has_no_accuracy(make_network: MakeNetwork) -> None:
    assert evaluate(Scripted(make_network()), [], CLASSES) == Evaluation(None)


def test_evaluation_changes_nothing(make_rule: Callable[..., Rule], make_batch: MakeBatch) -> None:
    rule = make_rule("architecture.spec=4C3-P2-FC9-n").train()
    before = [v.clone() for v in rule.state_dict().values()]
    one, other = (evaluate(rule, [make_batch(12, torch.float32)], 4) for _ in range(2))
    assert one == other
    assert all(torch.equal(a, b) for a, b in zip(before, rule.state_dict().values(), strict=True))
    assert all(p.grad is None for p in rule.parameters())


# Operations


@torch.no_grad()
def test_synaptic_operations_are_spikes_times_outgoing_synapses(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    """Counted spike by spike on a fully connected net."""
    net, (images, labels) = make_network("64-12-9-n", v_th=0.4).eval(), make_batch()
    found = evaluate(Evaluator(net), [(images, labels)], 4)
    total = 0.0
    for (_, spikes), fan_out in zip(net.traces(images), (9, 4), strict=True):
        total += spikes.sum().item() * fan_out / len(images)
    accumulates, multiplies = operations(net, found.inputs)
    assert total > 0
    assert accumulates == pytest.approx(total, rel=1e-6)
    assert multiplies == 64 * 12


class Evaluator(Rule):
    residual = True

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        raise NotImplementedError


@torch.no_grad()
def test_convolutions_count_at_every_position(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    """One by one kernels have no border, so spikes can be counted there too."""
    net, (images, labels) = make_network("4C1-P2-6C1s2-n", v_th=0.4).eval(), make_batch()
    found = evaluate(Evaluator(net), [(images, labels)], 4)
    first, second = (spikes for _, spikes in net.traces(images))
    pooled = torch.nn.functional.max_pool2d(first.flatten(0, 1), 2)
    expected = pooled.sum() / 16 * 4 * 6 + second.sum() * 4  # stride 2 visits 4 of 16 pixels
    accumulates, multiplies = operations(net, found.inputs)
    assert multiplies == 64 * 4
    assert accumulates == pytest.approx(expected.item() / len(images), rel=1e-6)


def test_energy_is_that_of_additions_and_of_multiplications_with_addition() -> None:
    """Horowitz 2014: 0.9 pJ for a 32-bit floating-point addition at 45 nm, 3.7 pJ for a multiplication."""
    assert energy(1000, 0) == pytest.approx(0.9)
    assert energy(0, 1000) == pytest.approx(0.9 + 3.7)
    assert energy(2e6, 1e6) == pytest.approx(2 * 900 + 4600)


def test_connections(make_network: MakeNetwork) -> None:
    net = make_network("4C3-P2-6C5s2-FC9-n")
    assert [connections(block.synapse) for block in net.blocks] == [4 * 9 * 64, 6 * 4 * 25 * 4, 9 * 24]
