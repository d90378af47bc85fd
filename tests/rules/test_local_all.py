"""A readout of every layer: what it reads, what it learns, and that the layers do not notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.parallel import stages
from snnhll.rules.local_all import LocalAllRule
from snnhll.rules.rule import Rule

MakeBatch = Callable[..., tuple[Tensor, Tensor]]
MakeRule = Callable[..., Rule]

OWN = ("architecture.spec=4C3-P2-6C3-FC9-n", "architecture.dropout=0", "trainer.steps=3")
PLAIN = ("architecture.norm=none", "neuron.v_th=0.2", "optimizer=sgd", "optimizer.lr=0.5", "optimizer.momentum=0")


def features_by_hand(rule: Rule, images: Tensor, head_size: int) -> Tensor:
    """What the layers send on, [B, F], by the network's own pictures of its spikes."""
    found = []
    for block, (_, spikes) in zip(rule.network.blocks, rule.network.traces(images), strict=True):
        sent = spikes.mean(0)
        if sent.dim() == 4:
            sent = F.max_pool2d(spikes.flatten(0, 1), block.layer.pool).unflatten(0, spikes.shape[:2]).mean(0)
            side = sent.shape[-1]
            while side > 1 and sent.shape[1] * side**2 > head_size:
                side -= 1
            sent = F.adaptive_avg_pool2d(sent, side)
        found.append(sent.flatten(1))
    return torch.cat(found, 1)


@pytest.mark.parametrize("update", ["accumulate", "final", "rate"])
@pytest.mark.parametrize("head_size", [1024, 40])
def test_it_descends_cross_entropy_on_the_rates_of_all_layers(
    make_rule: MakeRule, make_batch: MakeBatch, update: str, head_size: int
) -> None:
    images, labels = make_batch(6, torch.float32)
    rule = make_rule(*OWN, *PLAIN, "rule=local_all", f"rule.head_size={head_size}", update=update)
    assert isinstance(rule, LocalAllRule)
    features = features_by_hand(rule.eval(), images, head_size)
    assert features[:, -9:].any()  # the last layer fires, so that all do
    weight, bias = rule.reader.weight.detach().clone(), rule.reader.bias.detach().clone()
    logits = features @ weight.t() + bias
    torch.testing.assert_close(rule.evaluate(images).inference.logits, logits)
    metrics = rule.train().step(images, labels)
    error = (logits.softmax(1) - F.one_hot(labels, logits.shape[1])) / len(labels)
    torch.testing.assert_close(rule.reader.weight.detach(), weight - 0.5 * error.t() @ features)
    torch.testing.assert_close(rule.reader.bias.detach(), bias - 0.5 * error.sum(0))
    torch.testing.assert_close(metrics["readout/pred"], F.cross_entropy(logits, labels))
    assert int(metrics["correct"]) == int((logits.argmax(1) == labels).sum())


def heads(rule: Rule, images: Tensor) -> list[Tensor | None]:
    return rule.eval().evaluate(images).layer_logits


@pytest.mark.parametrize("update", ["accumulate", "final", "rate"])
def test_layers_and_the_last_readout_learn_as_without_it(
    make_rule: MakeRule, make_batch: MakeBatch, update: str
) -> None:
    """Bit for bit, with dropout, over several batches."""
    one, other = (
        make_rule(*OWN, f"rule={name}", "architecture.dropout=0.3", update=update) for name in ("local", "local_all")
    )
    other.load_state_dict(one.state_dict(), strict=False)
    for seed in range(3):
        for rule in (one, other):
            torch.manual_seed(seed)
            rule.train().step(*make_batch(6, torch.float32, seed))
    learned = other.state_dict()
    assert not [name for name, value in one.state_dict().items() if not torch.equal(learned[name], value)]
    images, _ = make_batch(6, torch.float32)
    for mine, theirs in zip(heads(one, images), heads(other, images), strict=True):
        assert mine is not None
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("own", "update", "says"),
    [
        ([], "online", r"trainer\.update: local_all reads rates over all steps"),
        (
            ["architecture.spec=4C3-4SEW3-n"],
            "accumulate",
            r"architecture\.spec: this rule has no equations for residual",
        ),
    ],
)
def test_what_it_cannot_train_is_refused(make_rule: MakeRule, own: list[str], update: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_rule(*OWN, *own, "rule=local_all", update=update)


def test_processes_do_not_share_it(make_rule: MakeRule) -> None:
    """The last of several stages sees one layer's signal alone."""
    with pytest.raises(UserError, match="LocalAllRule is not laid out in stages"):
        stages.check(make_rule(*OWN, "rule=local_all", update="rate"), 2)
