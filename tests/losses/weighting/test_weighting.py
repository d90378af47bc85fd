"""Weightings in the rules: what they hear, what is descended, that layers keep to themselves, and that they resume."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll.assemble import build_rule
from snnhll.check import check_config
from snnhll.config import compose, settings
from snnhll.errors import UserError
from snnhll.experiment import train_from
from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.weighting.fixed import Fixed
from snnhll.losses.weighting.weighting import Adaptive
from snnhll.rules.local import LocalRule
from snnhll.rules.rule import Rule

MakeRule = Callable[..., Rule]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
ADAPTIVE = ["uncertainty", "gradnorm", "scale"]
UPDATES = ["online", "accumulate", "final", "rate"]
EVERY = pytest.mark.parametrize("weighting", ADAPTIVE)
EVERY_UPDATE = pytest.mark.parametrize("update", UPDATES)
SMALL = ("architecture.spec=3C3-P2-FC9-n", "architecture.dropout=0.2", "trainer.steps=3", "loss.weights.recon=0.2")


def learner(make_rule: MakeRule, weighting: str, update: str, *overrides: str) -> LocalRule:
    rule = make_rule(*SMALL, f"loss.weighting={weighting}", *overrides, update=update)
    assert isinstance(rule, LocalRule)
    return rule


def train(rule: Rule, make_batch: MakeBatch, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        rule.step(*make_batch(8, torch.float32, seed=step))


class Recorder(Adaptive):
    """Keeps what it is told."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__(weights)
        self.heard: list[Tensor] = []
        self.norms: list[Tensor] = []

    def adapt(self, losses: Tensor, norms: Callable[[], Tensor]) -> None:
        self.heard.append(losses)
        self.norms.append(norms())


@EVERY_UPDATE
def test_a_weighting_hears_once_a_batch_the_losses_that_are_logged(
    make_rule: MakeRule, make_batch: MakeBatch, update: str
) -> None:
    rule = learner(make_rule, "fixed", update)
    for unit in rule.units:
        unit.loss.weighting = Recorder(unit.loss.weights)
    for seed in (0, 1):
        metrics = rule.step(*make_batch(8, torch.float32, seed=seed))
        for unit in rule.units:
            assert isinstance(unit.loss.weighting, Recorder)
            logged = torch.stack([metrics[f"{unit.name}/{term}"] for term in unit.loss.weights])
            torch.testing.assert_close(unit.loss.weighting.heard[seed], logged)
            assert len(unit.loss.weighting.heard) == seed + 1


@EVERY_UPDATE
def test_the_norms_and_the_descent_are_those_of_the_weighed_terms(
    make_rule: MakeRule, make_batch: MakeBatch, update: str
) -> None:
    """Descending one term alone leaves its gradient in the synapses: its length and the weighted sum by another way."""

    def gradient(weights: dict[str, float]) -> tuple[Tensor, Recorder]:
        rule = learner(make_rule, "fixed", update, "optimizer=sgd", "optimizer.lr=1e-12", "architecture.dropout=0")
        unit = rule.units[1]
        unit.loss.weighting = recorder = Recorder(weights)
        for other in rule.units:
            torch.nn.init.normal_(
                other.loss.terms["pred"].classifier.weight, generator=torch.Generator().manual_seed(3)
            )
        rule.step(*make_batch(8, torch.float32))
        assert unit.block.synapse.weight.grad is not None
        return unit.block.synapse.weight.grad, recorder

    terms = ("pred", "sim", "recon")
    alone = [gradient({term: float(term == chosen) for term in terms}) for chosen in terms]
    together, recorder = gradient({"pred": 0.25, "sim": 0.5, "recon": 2.0})
    expected = 0.25 * alone[0][0] + 0.5 * alone[1][0] + 2.0 * alone[2][0]
    assert (together - expected).norm() < 1e-5 * expected.norm()  # terms of opposite sign leave less than they bring
    torch.testing.assert_close(recorder.norms[0], torch.stack([found.norm() for found, _ in alone]))


@EVERY
@EVERY_UPDATE
def test_a_resumed_rule_goes_on_to_the_bit(
    make_rule: MakeRule, make_batch: MakeBatch, weighting: str, update: str
) -> None:
    whole, broken = (learner(make_rule, weighting, update) for _ in range(2))
    train(whole, make_batch, range(4))
    train(broken, make_batch, range(2))
    file = io.BytesIO()
    torch.save(broken.checkpoint(), file)
    file.seek(0)
    resumed = learner(make_rule, weighting, update)
    resumed.restore(torch.load(file, weights_only=True))
    assert resumed.loss_weights() == broken.loss_weights() != learner(make_rule, weighting, update).loss_weights()
    train(resumed, make_batch, range(2, 4))
    assert resumed.loss_weights() == whole.loss_weights()
    state, expected = resumed.state_dict(), whole.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in state)


@EVERY
@EVERY_UPDATE
def test_a_layer_weighs_by_itself(make_rule: MakeRule, make_batch: MakeBatch, weighting: str, update: str) -> None:
    plain, disturbed = (learner(make_rule, weighting, update) for _ in range(2))
    with torch.no_grad():
        disturbed.units[1].block.synapse.weight.normal_(generator=torch.Generator().manual_seed(5))
    for rule in (plain, disturbed):
        train(rule, make_batch, range(3))
    a, b = plain.loss_weights(), disturbed.loss_weights()
    assert {key for key in a if a[key] == b[key]} == {key for key in a if key.startswith("layer1/")}


@pytest.mark.parametrize("loss", ["pred", "sim", "contrast", "hsic"])
@EVERY
def test_a_single_term_is_weighed_against_nothing(
    make_rule: MakeRule, make_batch: MakeBatch, loss: str, weighting: str
) -> None:
    spec, batch = "architecture.spec=FC9-n", make_batch(8, torch.float32)
    plain = make_rule(f"loss={loss}", spec, "trainer.steps=2")
    single = make_rule(f"loss={loss}", spec, "trainer.steps=2", f"loss.weighting={weighting}")
    for rule in (plain, single):
        torch.manual_seed(0)
        rule.step(*batch)
    assert plain.state_dict().keys() == single.state_dict().keys()
    assert all(torch.equal(value, single.state_dict()[key]) for key, value in plain.state_dict().items())
    assert single.loss_weights() == {f"layer1/{loss}": 1.0}


def test_fixed_weights_add_nothing_to_a_checkpoint_and_count_as_they_are_configured(make_rule: MakeRule) -> None:
    rule = learner(make_rule, "fixed", "rate")
    assert isinstance(rule.units[0].loss.weighting, Fixed)
    assert not any("weighting" in key for key in rule.state_dict())
    assert rule.loss_weights() == {
        f"layer{i}/{term}": w for i in (1, 2) for term, w in (("pred", 0.99), ("sim", 0.01), ("recon", 0.2))
    }


def test_evaluation_teaches_a_weighting_nothing(make_rule: MakeRule, make_batch: MakeBatch) -> None:
    rule = learner(make_rule, "scale", "rate")
    before = rule.loss_weights()
    rule.evaluate(make_batch(8, torch.float32)[0])
    assert rule.loss_weights() == before


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["loss.weighting=gradnrom"], r"loss\.weighting: 'gradnrom' is not an option\. Did you mean 'gradnorm'\?"),
        (["loss.weighting=scale", "loss.weights.sim=-1"], r"loss\.weights\.sim: -1\.0 is negative.*fixed"),
        (["loss.weightings.scale.decay=1"], r"loss\.weightings\.scale\.decay: 1\.0 is out of range"),
        (["loss.weightings.gradnorm.alfa=1"], r"loss\.weightings\.gradnorm\.alfa: no such key"),
        (["+loss.weights.pred_=1"], r"loss\.weights\.pred_: no such term"),
    ],
)
def test_a_mistake_is_found_before_anything_is_built(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_config(compose(overrides, resolve=True))


def test_a_loss_that_can_be_negative_has_no_magnitude(problem: Any) -> None:
    config = compose(["loss=hsic", "loss.weights.pred=0.5", "loss.weighting=scale"])
    with pytest.raises(UserError, match=r"loss\.weighting: 'scale' compares magnitudes, and 'hsic' can be negative"):
        build_rule(config, settings(config), problem)


def test_a_loss_of_the_users_own_need_not_speak_of_weightings() -> None:
    from snnhll.losses.options import loss_options

    chosen = loss_options({"name": "mine", "terms": {"a": {}, "b": {}}, "weights": {"a": 1, "b": 2}})
    assert (chosen.weights, chosen.weighting) == ({"a": 1.0, "b": 2.0}, None)


def test_the_weights_of_every_layer_are_in_every_line_of_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snnhll.reports.run_pictures.draw_run", lambda *_: [])
    tiny = ["data.limit=8", "trainer.epochs=2", "trainer.steps=2", "architecture.spec=4C3-P2-FC8-FCn", "tracking=none"]
    result = train_from([*tiny, "loss.weighting=scale", f"output_dir={tmp_path}"])
    lines = [json.loads(line) for line in (Path(result.run_dir) / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss_weights"].keys() for line in lines] == [
        {"layer1/pred", "layer1/sim", "layer2/pred", "layer2/sim"}
    ] * 2
    assert lines[0]["loss_weights"] != lines[1]["loss_weights"]
    for layer in ("layer1", "layer2"):
        assert sum(w for name, w in lines[1]["loss_weights"].items() if name.startswith(layer)) == pytest.approx(1.0)


def test_the_default_loss_is_weighed_as_the_thesis_prints_it() -> None:
    node = compose([])["loss"]
    assert (node["weighting"], {k: w for k, w in node["weights"].items() if w}) == (
        "fixed",
        {"pred": 0.99, "sim": 0.01},
    )
    assert HybridLoss({}, {}).present_weights() == {}
