"""The training loop: it learns, it repeats and resumes to the bit, and it says where a loss went wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from snnhll import training
from snnhll.config import TrainerSettings
from snnhll.data.pipeline import Data
from snnhll.errors import DivergedError, UserError
from snnhll.results import RunFolder
from snnhll.rules.rule import Rule
from snnhll.run_state import RunState
from snnhll.schedules.constant import Constant
from snnhll.schedules.cosine import Cosine
from snnhll.schedules.schedule import Schedule
from snnhll.schedules.step import Step
from snnhll.tracking.tracker import Tracker
from snnhll.training import Progress, seed_step, train

MakeRule = Callable[..., Rule]
MakeData = Callable[..., Data]

EPOCHS = 4
NETWORK = ("architecture.spec=4C3-P2-FC12-n", "trainer.steps=4", "architecture.dropout=0.2", "optimizer.lr=5e-4")
QUICK = ("architecture.spec=6C3-P2-FC24-n", "trainer.steps=4", "architecture.dropout=0", "optimizer.lr=1e-2")
ONE_EACH = {
    "local": (*NETWORK, "loss=pred_sim_contrast"),
    "bptt": (*NETWORK, "rule=bptt", "optimizer=adamw"),
    "momentum": (*NETWORK, "optimizer=sgd", "architecture.norm=none"),
}
TIMES = {"seconds", "samples_per_second", "loading_share", "peak_memory_bytes"}


class StoppedError(Exception):
    """Stands for the end of the process."""


class Stop(Tracker):
    """Ends the process when `step` (None: the end) of `epoch` is reported."""

    def __init__(self, epoch: int = -1, step: int | None = None) -> None:
        self.when, self.steps, self.rows = (epoch, step), [], []

    def step(self, epoch: int, step: int, steps: int, samples: int, sums: dict[str, float]) -> None:
        self.steps.append((epoch, step, steps, samples))
        if self.when == (epoch, step):
            raise StoppedError

    def epoch(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if self.when == (row["epoch"], None):
            raise StoppedError


@pytest.fixture
def run(
    tmp_path: Path, make_rule: MakeRule, make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """A function that trains for some epochs in a folder, looking at the losses every 3 of 8 steps."""
    monkeypatch.setattr(training, "CHECK_EVERY", 3)

    def go(
        *overrides: str,
        folder: str = "run",
        update: str = "accumulate",
        tracker: Tracker | None = None,
        epochs: int = EPOCHS,
        schedule: Schedule | None = None,
        every: float = 1e9,
        seed: int = 0,
        validation: float = 0.2,
        prepare: Callable[[Rule], None] = lambda rule: None,
        build_seed: int | None = None,
    ) -> tuple[Rule, list[dict[str, Any]], Progress]:
        rule = make_rule(
            *(overrides or ONE_EACH["local"]), update=update, seed=seed if build_seed is None else build_seed
        )
        prepare(rule)
        place = RunFolder.create(tmp_path / folder)
        state = RunState(place, "hash", torch.device("cpu"), every, {"classes": 4})
        chosen = TrainerSettings(epochs, 8, 4, "accumulate", "float32", 10, 1.0)
        data = make_data(seed=seed, validation=validation)
        progress = train(rule, data, schedule or Step(), chosen, seed, state, tracker or Tracker())
        return rule, place.metrics(), progress

    return go


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def everything(rule: Rule) -> list[Tensor]:
    """All tensors a resumed run must have in common with an uninterrupted one."""
    found: list[Tensor] = []

    def collect(node: Any) -> None:
        if isinstance(node, Tensor):
            found.append(node)
        elif isinstance(node, dict):
            for key in sorted(node, key=str):
                collect(node[key])
        elif isinstance(node, (list, tuple)):
            for child in node:
                collect(child)
        elif isinstance(node, (int, float)):
            found.append(torch.tensor(node))

    collect(rule.checkpoint())
    return found


def assert_same(one: Rule, other: Rule) -> None:
    a, b = everything(one), everything(other)
    assert len(a) == len(b) > 10
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# Learning


@pytest.mark.parametrize("update", ["online", "accumulate", "final", "rate"])
def test_local_learning_lowers_every_loss_and_learns_the_task(run: Callable[..., Any], update: str) -> None:
    _, rows, _ = run(*QUICK, "loss=pred_sim", update=update, epochs=6, schedule=Constant())
    first, last = rows[0]["losses"], rows[-1]["losses"]
    assert set(first) == {"layer1/pred", "layer1/sim", "layer2/pred", "layer2/sim", "readout/pred"}
    assert all(last[name] < first[name] for name in first)
    assert rows[-1]["train_accuracy"] > 0.85
    assert rows[-1]["val_accuracy"] > 0.85
    assert all(a > 0.6 for a in rows[-1]["layer_val_accuracy"])


def test_bptt_lowers_its_loss_and_learns_the_task(run: Callable[..., Any]) -> None:
    _, rows, _ = run(*QUICK, "rule=bptt", epochs=8, schedule=Constant())
    assert rows[-1]["losses"]["readout/pred"] < 0.6 * rows[0]["losses"]["readout/pred"]
    assert rows[-1]["val_accuracy"] > 0.85
    assert rows[-1]["layer_val_accuracy"][:-1] == [None, None]


# Repetition and resumption


def test_the_same_seed_repeats_to_the_bit_and_another_does_not(run: Callable[..., Any]) -> None:
    one, rows, _ = run(folder="a")
    again, same_rows, _ = run(folder="b")
    other, _, _ = run(folder="c", seed=1)
    assert_same(one, again)
    assert without_times(rows) == without_times(same_rows)
    assert not torch.equal(one.network.readout.weight, other.network.readout.weight)


@pytest.mark.parametrize(
    ("name", "update"),
    [("local", "accumulate"), ("local", "online"), ("local", "rate"), ("bptt", "accumulate"), ("momentum", "final")],
)
def test_a_run_stopped_again_and_again_ends_as_if_never_stopped(
    run: Callable[..., Any], name: str, update: str
) -> None:
    """Before the first checkpoint, within epochs, at the last step of one and right after its metrics are written.

    Once there is a checkpoint, the process that continues is built from another seed: it needs nothing of its own.
    """
    how = {"update": update, "every": -1.0}  # a checkpoint is due whenever losses are looked at
    whole, rows, progress = run(*ONE_EACH[name], folder="whole", **how)
    for stop, build_seed in [((0, 3), 0), ((0, 6), 0), ((0, 8), 99), ((1, 6), 99), ((1, None), 99), ((3, 8), 99)]:
        with pytest.raises(StoppedError):
            run(*ONE_EACH[name], tracker=Stop(*stop), build_seed=build_seed, **how)
    resumed, resumed_rows, resumed_progress = run(*ONE_EACH[name], build_seed=99, **how)
    assert_same(resumed, whole)
    assert without_times(resumed_rows) == without_times(rows)
    assert [row["epoch"] for row in rows] == list(range(EPOCHS))
    assert resumed_progress.samples == progress.samples == EPOCHS * 64
    assert resumed_progress.best_val == progress.best_val


HSIC = (*NETWORK, "loss=hsic", "rule=three_factor")


def test_similarities_are_followed_on_the_same_images_and_survive_an_interruption(
    run: Callable[..., Any], make_data: MakeData, tmp_path: Path
) -> None:
    def kept(folder: str) -> dict[int, Tensor]:
        return RunState(RunFolder(tmp_path / folder), "hash", torch.device("cpu"), 0, {}).similarities()

    rule, rows, _ = run(*HSIC, folder="whole")
    for stop in ((1, 3), (2, None)):
        with pytest.raises(StoppedError):
            run(*HSIC, tracker=Stop(*stop), every=-1.0)
    _, resumed_rows, _ = run(*HSIC, every=-1.0)
    assert without_times(resumed_rows) == without_times(rows)
    whole, resumed = kept("whole"), kept("run")
    assert list(whole) == list(resumed) == [0, 1, 3]  # first, middle and last of four epochs
    assert all(torch.equal(whole[epoch], resumed[epoch]) for epoch in whole)
    images, labels = make_data(seed=0, validation=0.2).probe()
    now = rule.similarities(images, labels)
    assert labels.tolist() == sorted(labels.tolist())
    assert torch.equal(whole[3], torch.stack([now[0].labels, now[0].features, now[1].features]))
    last = rows[-1]["similarities"]
    assert last == {name: [layer.numbers[name] for layer in now] for name in now[0].numbers}
    assert len(last["hsic_zy"]) == 2


def test_losses_that_compare_no_samples_leave_no_similarities(run: Callable[..., Any], tmp_path: Path) -> None:
    _, rows, _ = run(epochs=1)
    assert "similarities" not in rows[0]
    assert not (tmp_path / "run" / "similarities.pt").exists()


def test_stopped_between_metrics_and_checkpoint_the_epoch_is_done_again(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, rows, _ = run(folder="whole")
    save, saved = RunState.save, []

    def fail_at_the_second(state: RunState, rule: Rule, progress: dict[str, Any]) -> None:
        saved.append(progress["epoch"])
        if len(saved) == 2:
            raise StoppedError
        save(state, rule, progress)

    monkeypatch.setattr(RunState, "save", fail_at_the_second)
    with pytest.raises(StoppedError):
        run()
    resumed, resumed_rows, _ = run()
    assert saved == [1, 2, 2, 3, 4]
    assert_same(resumed, whole)
    assert without_times(resumed_rows) == without_times(rows)


def test_a_finished_run_trains_no_further(run: Callable[..., Any]) -> None:
    one, rows, _ = run()
    tracker = Stop()
    again, same_rows, progress = run(tracker=tracker, build_seed=99)
    assert_same(one, again)
    assert (rows, progress.epoch, tracker.steps) == (same_rows, EPOCHS, [])


def test_a_finished_run_continues_to_more_epochs(run: Callable[..., Any]) -> None:
    """Under a constant rate it is the same run; the checkpoint holds all it takes."""
    whole, rows, _ = run(folder="whole", schedule=Constant())
    run(schedule=Constant(), epochs=1)
    resumed, resumed_rows, _ = run(schedule=Constant(), build_seed=99)
    assert_same(resumed, whole)
    assert without_times(resumed_rows) == without_times(rows)


def test_checkpoints_are_saved_after_every_epoch_and_when_due(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[tuple[int, int]] = []
    monkeypatch.setattr(RunState, "save", lambda self, rule, p: places.append((p["epoch"], p["step"])))
    run(epochs=2)
    assert places == [(1, 0), (2, 0)]
    places.clear()
    run(epochs=1, every=-1.0)
    assert places == [(0, 3), (0, 6), (0, 8), (1, 0)]


def test_randomness_of_a_step_depends_on_seed_epoch_and_step_alone() -> None:
    draws: dict[tuple[int, int, int], float] = {}
    for key in [(s, e, t) for s in (0, 1, 2) for e in (0, 1, 2) for t in (0, 1, 2)]:
        torch.rand(17)
        seed_step(*key)
        draws[key] = torch.rand(()).item()
    assert len(set(draws.values())) == 27
    seed_step(1, 2, 0)
    assert torch.rand(()).item() == draws[1, 2, 0]
    seed_step(2**62, 10**6, 10**6)


# What is reported


def test_a_row_holds_what_each_epoch_logs(run: Callable[..., Any]) -> None:
    _, rows, progress = run()
    assert len(rows) == EPOCHS
    for row in rows:
        assert len(row["firing_rates"]) == len(row["silent_share"]) == len(row["saturated_share"]) == 2
        assert all(0 <= r <= 1 for k in ("firing_rates", "silent_share", "saturated_share") for r in row[k])
        assert len(row["layer_val_accuracy"]) == 3
        assert row["layer_val_accuracy"][-1] == row["val_accuracy"]
        assert row["seconds"] > 0
        assert row["samples_per_second"] > 0
        assert row["peak_memory_bytes"] > 0
    assert progress.seconds == rows[-1]["seconds"] <= progress.wall


def test_losses_are_means_over_the_steps_and_accuracy_over_the_images(run: Callable[..., Any]) -> None:
    seen: list[dict[str, Tensor]] = []

    def listen(rule: Rule) -> None:
        step = rule.step
        rule.step = lambda images, labels: (seen.append(step(images, labels)), seen[-1])[1]  # type: ignore[method-assign]

    _, (row,), _ = run(epochs=1, prepare=listen)
    assert len(seen) == 8
    for name, value in row["losses"].items():
        assert value == pytest.approx(sum(m[name].item() for m in seen) / 8, rel=1e-6)
    assert row["train_accuracy"] == sum(m["correct"].item() for m in seen) / 64


@pytest.mark.parametrize("schedule", [Step(), Cosine(warmup=1), Constant()], ids=["step", "cosine", "constant"])
def test_learning_rate_follows_the_schedule_also_after_a_stop(run: Callable[..., Any], schedule: Schedule) -> None:
    how = {"schedule": schedule, "every": -1.0}
    with pytest.raises(StoppedError):
        run(tracker=Stop(2, 6), **how)
    rule, rows, _ = run(build_seed=99, **how)
    assert [row["lr"] for row in rows] == pytest.approx([5e-4 * schedule.factor(e, EPOCHS) for e in range(EPOCHS)])
    rates = {group["lr"] for optimizer in rule.optimizers for group in optimizer.param_groups}
    assert rates == {rows[-1]["lr"]}


def test_table_3_1_multiplies_the_rate_by_a_quarter_at_four_shares_of_the_epochs() -> None:
    """Section 5, point 11, at 400 epochs."""
    factors = [Step().factor(epoch, 400) for epoch in range(400)]
    drops = [epoch for epoch in range(1, 400) if factors[epoch] != factors[epoch - 1]]
    assert drops == [200, 300, 350, 375]
    assert sorted(set(factors), reverse=True) == [1, 0.25, 0.25**2, 0.25**3, 0.25**4]


def test_cosine_rises_linearly_and_falls_to_its_floor() -> None:
    factors = [Cosine(warmup=2, floor=0.1).factor(epoch, 12) for epoch in range(12)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert all(a > b > 0.1 for a, b in pairwise(factors[2:]))
    assert Cosine(warmup=2, floor=0.1).factor(7, 12) == pytest.approx(0.55)


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(UserError, match=r"^schedule.warmup: 5 epochs of 5 in all"):
        Cosine(warmup=5).factor(0, 5)


def test_tracker_hears_of_steps_and_epochs(run: Callable[..., Any]) -> None:
    tracker = Stop()
    _, rows, _ = run(tracker=tracker, epochs=2)
    assert tracker.steps == [(e, step, 8, 8 * step) for e in (0, 1) for step in (3, 6, 8)]
    assert tracker.rows == rows


# Validation


def test_the_best_epoch_on_validation_is_kept(run: Callable[..., Any], tmp_path: Path) -> None:
    kept: list[dict[str, Tensor]] = []

    class Copy(Tracker):
        def epoch(self, row: dict[str, Any]) -> None:
            kept.append(copy.deepcopy(rules[0].state_dict()))

    rules: list[Rule] = []
    rule, rows, progress = run(tracker=Copy(), prepare=rules.append)
    values = [row["val_accuracy"] for row in rows]
    assert progress.best_val == max(values)
    state = RunState(RunFolder(tmp_path / "run"), "hash", torch.device("cpu"), 1e9, {})
    assert state.load_best(rule)
    for name, expected in kept[values.index(max(values))].items():
        assert torch.equal(rule.state_dict()[name], expected)


def test_without_a_validation_split_there_is_no_best_epoch_and_activity_is_that_of_training_images(
    run: Callable[..., Any], make_data: MakeData, tmp_path: Path
) -> None:
    rule, rows, _ = run(epochs=1, validation=0.0)
    assert rows[0]["val_accuracy"] is None
    images, _ = make_data(validation=0.0).probe()
    fired = rule.eval().evaluate(images).inference.fired
    assert rows[0]["firing_rates"] == pytest.approx([float(own.mean()) for own in fired])
    assert len(rows[0]["silent_share"]) == len(rows[0]["saturated_share"]) == len(fired)
    assert not RunState(RunFolder(tmp_path / "run"), "hash", torch.device("cpu"), 1e9, {}).load_best(rule)


# Divergence


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 2), (0, 3), (1, 6), (1, 7), (3, 5)])
def test_a_bad_loss_is_named_with_layer_epoch_and_step(
    run: Callable[..., Any], bad: float, epoch: int, step: int
) -> None:
    """Wherever it falls among the looks at the losses, after 3, 6 and 8 of 8 steps; counted from one."""

    def poison(rule: Rule) -> None:
        calls, learn = iter(range(10**6)), rule.step

        def poisoned(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            metrics = learn(images, labels)
            if next(calls) >= 8 * epoch + step:
                metrics["layer2/sim"] = torch.tensor(bad)
            return metrics

        rule.step = poisoned  # type: ignore[method-assign]

    with pytest.raises(DivergedError) as raised:
        run(prepare=poison)
    assert str(raised.value).startswith(f"The loss 'sim' of layer2 became {bad} in epoch {epoch + 1}, step {step + 1};")


@pytest.mark.parametrize(("rule", "rate"), [("local", 1e30), ("bptt", 3e38)])
def test_a_rate_far_too_high_is_noticed_and_no_checkpoint_keeps_the_wreck(
    run: Callable[..., Any], tmp_path: Path, rule: str, rate: float
) -> None:
    wreck = (*NETWORK, f"rule={rule}", "optimizer=sgd", f"optimizer.lr={rate}", "architecture.norm=none")
    with pytest.raises(
        DivergedError, match=r"^The loss '(pred|sim)' of (layer\d|readout) became (nan|inf) in epoch 1, step \d"
    ):
        run(*wreck, every=-1.0)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_step_of_a_bad_loss_counts_from_the_start_of_the_epoch_after_a_stop_too(run: Callable[..., Any]) -> None:
    with pytest.raises(StoppedError):
        run(tracker=Stop(1, 6), every=-1.0)

    def poison(rule: Rule) -> None:
        rule.step = lambda images, labels: {"correct": torch.tensor(0), "layer1/pred": torch.tensor(float("nan"))}  # type: ignore[method-assign]

    with pytest.raises(DivergedError, match="'pred' of layer1 became nan in epoch 2, step 4;"):
        run(prepare=poison, every=-1.0)
