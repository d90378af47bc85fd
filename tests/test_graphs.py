"""Recorded steps, with a recorder that stands in for CUDA's: what is run as it is, recorded, and recorded anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.graphs import WARM_UP, RecordedStep, Step, capturable, check_recordable
from snnhll.rules.rule import Metrics, Rule
from snnhll.training import seed_step

MakeRule = Callable[..., Rule]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
TINY = ("architecture.spec=64-12-n", "loss=pred", "tracking=none")


class Recorder:
    """Replays a step as a graph does: same inputs' places, same learning rates, results in one place."""

    def __init__(self) -> None:
        self.recorded: list[list[float]] = []
        self.replayed = 0

    def __call__(self, rule: Rule, images: Tensor, labels: Tensor) -> Step:
        rates = [group["lr"] for optimizer in rule.optimizers for group in optimizer.param_groups]
        self.recorded.append(rates)

        def replay(images: Tensor, labels: Tensor) -> Metrics:
            assert rates == [group["lr"] for optimizer in rule.optimizers for group in optimizer.param_groups]
            self.replayed += 1
            return rule.step(images, labels)

        return replay


def test_learns_what_the_plain_step_learns_and_records_each_learning_rate_once(
    make_rule: MakeRule, make_batch: MakeBatch
) -> None:
    plain, recorded = (make_rule(*TINY, update="rate").float().train() for _ in range(2))
    recorder = Recorder()
    step = RecordedStep(recorded, recorder)
    batches = [make_batch(12, torch.float32, seed) for seed in range(9)]
    for rule, run in ((plain, plain.step), (recorded, step)):
        for number, (images, labels) in enumerate(batches):
            rule.scale_learning_rate(1.0 if number < 6 else 0.1)
            seed_step(0, 0, number)
            size = 5 if number == 4 else 12  # the last batch of an epoch is smaller
            run(images[:size], labels[:size])
    for a, b in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len(recorder.recorded) == 2
    assert recorder.recorded[1] == pytest.approx([0.1 * rate for rate in recorder.recorded[0]])
    assert recorder.replayed == len(batches) - WARM_UP - 1


def test_optimisers_of_torch_can_be_recorded_for_as_long_as_it_takes(make_rule: MakeRule) -> None:
    rule = make_rule(*TINY, "optimizer._target_=torch.optim.NAdam", update="rate").float().train()
    groups = [group for optimizer in rule.optimizers for group in optimizer.param_groups]
    with capturable(rule.optimizers):
        assert [group["capturable"] for group in groups] == [True] * len(groups)
    assert [group["capturable"] for group in groups] == [False] * len(groups)


def test_a_cpu_is_named(make_rule: MakeRule) -> None:
    with pytest.raises(UserError, match=r"trainer\.cuda_graphs: needs a CUDA device, and this run is on cpu"):
        check_recordable(make_rule(*TINY), torch.device("cpu"), "none")


def test_a_rule_that_draws_its_steps_is_named(make_rule: MakeRule) -> None:
    with pytest.raises(UserError, match=r"trainer\.cuda_graphs: steps of SLTTRule cannot be recorded"):
        check_recordable(make_rule(*TINY, "rule=sltt"), torch.device("cuda"), "none")


def test_several_processes_are_named(make_rule: MakeRule) -> None:
    with pytest.raises(UserError, match=r"trainer\.cuda_graphs: .* use trainer\.parallel=none"):
        check_recordable(make_rule(*TINY), torch.device("cuda"), "data")
