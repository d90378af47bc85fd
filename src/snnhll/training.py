"""The training loop: epochs, batches, validation, checkpoints. It knows nothing of losses, layers or time.

Everything random in a step is a function of (seed, epoch, step), so a resumed run repeats an uninterrupted one to the
bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from snnhll.config import TrainerSettings
from snnhll.data import Data
from snnhll.data.pipeline import Batch
from snnhll.errors import DivergedError
from snnhll.graphs import Step, step_of
from snnhll.metrics import Evaluation, evaluate
from snnhll.rules.rule import Metrics, Rule
from snnhll.run_state import RunState
from snnhll.schedules.schedule import Schedule
from snnhll.tracking.tracker import Tracker

CHECK_EVERY = 50  # steps between looks at the losses, so that an accelerator is not made to wait at every step


@dataclass
class Progress:
    """Where a run stands: the next epoch and step, and sums over the steps of the epoch so far."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    samples_in_epoch: int = 0
    best_val: float = -1.0
    samples: int = 0
    seconds: float = 0.0  # spent in training steps, their images included
    waited: float = 0.0  # of these, until the images of a step were there
    wall: float = 0.0  # spent in all, by every process that worked on the run

    @property
    def samples_per_second(self) -> float:
        return self.samples / max(self.seconds, 1e-9)

    @property
    def loading_share(self) -> float:
        """Share of the time of training in which the host waited for images. An accelerator goes on meanwhile, so that
        its steps are held up for less."""
        return self.waited / max(self.seconds, 1e-9)

    def finish_epoch(self) -> None:
        """Move on to the next epoch."""
        self.epoch, self.step, self.sums, self.samples_in_epoch = self.epoch + 1, 0, {}, 0


def train(
    rule: Rule, data: Data, schedule: Schedule, settings: TrainerSettings, seed: int, state: RunState, tracker: Tracker
) -> Progress:
    """Train `rule` for the epochs of `settings`, from the checkpoint in `state` if there is one."""
    progress = Progress(**state.resume(rule))
    began = time.perf_counter() - progress.wall
    step = step_of(rule, settings.cuda_graphs)
    while progress.epoch < settings.epochs:
        rule.scale_learning_rate(schedule.factor(progress.epoch, settings.epochs))
        _train_epoch(rule, step, data, seed, progress, state, tracker)
        validation = evaluate(rule, data.eval_batches("val", settings.eval_batch_size), len(data.classes))
        row = _row(rule, progress, validation, _activity(rule, validation, data))
        if similarities := rule.similarities(*data.probe()):
            row["similarities"] = {name: [s.numbers[name] for s in similarities] for name in similarities[0].numbers}
            if progress.epoch in (0, (settings.epochs - 1) // 2, settings.epochs - 1):
                state.keep_similarities(progress.epoch, similarities)
        if validation.accuracy is not None and validation.accuracy > progress.best_val:
            progress.best_val = validation.accuracy
            state.save_best(rule)
        progress.finish_epoch()
        progress.wall = time.perf_counter() - began
        state.log(row)
        state.save(rule, asdict(progress))
        tracker.epoch(row)
    return progress


def _train_epoch(
    rule: Rule, step: Step, data: Data, seed: int, progress: Progress, state: RunState, tracker: Tracker
) -> None:
    rule.train()
    pending: list[Metrics] = []
    started = time.perf_counter()
    for images, labels in _timed(data.train_batches(progress.epoch, progress.step), progress):
        seed_step(seed, progress.epoch, progress.step)
        pending.append(step(images, labels))
        progress.step += 1
        progress.samples_in_epoch += len(labels)
        if is_checked(progress.step, data.steps_per_epoch):
            _collect(rule.gathered(pending), progress)
            pending.clear()
            rule.network.encoding.check()
            spent = time.perf_counter() - started
            progress.seconds, progress.wall = progress.seconds + spent, progress.wall + spent
            tracker.step(progress.epoch, progress.step, data.steps_per_epoch, progress.samples_in_epoch, progress.sums)
            if state.save_is_due():
                state.save(rule, asdict(progress))
            started = time.perf_counter()
    progress.samples += progress.samples_in_epoch


def _timed(batches: Iterator[Batch], progress: Progress) -> Iterator[Batch]:
    """Yield the batches, and add up how long each was waited for."""
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        progress.waited += time.perf_counter() - asked
        if batch is None:
            return
        yield batch


def is_checked(step: int, steps: int) -> bool:
    """Return whether the losses are looked at after `step` of the epoch's `steps`."""
    return step % CHECK_EVERY == 0 or step == steps


def _collect(pending: list[Metrics], progress: Progress) -> None:
    """Add the metrics of the last steps to the sums of the epoch. Raises DivergedError naming the first bad loss."""
    names = list(pending[0])
    table = torch.stack([torch.stack([m[name].float() for name in names]) for m in pending]).cpu()
    if not torch.isfinite(table).all():
        row, column = (~torch.isfinite(table)).nonzero()[0].tolist()
        layer, _, loss = names[column].partition("/")
        raise DivergedError(
            f"The loss {loss!r} of {layer} became {table[row, column].item()} in epoch {progress.epoch + 1}, "
            f"step {progress.step - len(pending) + row + 1}; try a smaller optimizer.lr or architecture.norm=batch."
        )
    for name, value in zip(names, table.double().sum(0).tolist(), strict=True):
        progress.sums[name] = progress.sums.get(name, 0.0) + value


def _activity(rule: Rule, validation: Evaluation, data: Data) -> Evaluation:
    """Return what tells how the layers fire: the validation images, without any the training images of the probe."""
    return validation if validation.accuracy is not None else evaluate(rule, [data.probe()], len(data.classes))


def _row(rule: Rule, progress: Progress, validation: Evaluation, activity: Evaluation) -> dict[str, Any]:
    """Return one line of metrics.jsonl: losses as means per step and their weights as they stand, accuracies as
    fractions, activity per layer."""
    losses = {name: value / progress.step for name, value in progress.sums.items() if name != "correct"}
    return {
        "epoch": progress.epoch,
        "train_accuracy": progress.sums["correct"] / progress.samples_in_epoch,
        "val_accuracy": validation.accuracy,
        "layer_val_accuracy": validation.layer_accuracy,
        "losses": losses,
        "loss_weights": rule.loss_weights(),
        "firing_rates": activity.rates,
        "silent_share": activity.silent,
        "saturated_share": activity.saturated,
        "lr": rule.optimizers[0].param_groups[0]["lr"] if rule.optimizers else None,
        "samples_per_second": progress.samples_per_second,
        "loading_share": progress.loading_share,
        "seconds": progress.seconds,
    }


def seed_step(seed: int, epoch: int, step: int) -> None:
    """Seed torch's generators for one step, as a function of (seed, epoch, step) alone."""
    torch.manual_seed(((seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63)
