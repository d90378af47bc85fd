"""Progress on the terminal: a live bar where there is one, plain lines where output is piped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from snnhll.results import Result
from snnhll.tracking.tracker import Tracker

QUIET, LOUD = 0.001, 0.90  # mean firing rates below and above which a layer is warned about
WAITING = 0.1  # share of the time of training spent on waiting for streamed images that is warned about
MOSTLY = 0.99  # share of silent or saturated neurons that is warned about


class ConsoleTracker(Tracker):
    """One line an epoch, and on a terminal a bar with step, loss, accuracy, samples/s and the time left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=False, highlight=False, soft_wrap=True)
        self.bar: Progress | None = None
        self.warned: set[str] = set()

    def start(self, config: dict[str, Any], run_dir: Path) -> None:
        self.epochs = config["trainer"]["epochs"]
        self.batch_size = config["trainer"]["batch_size"]
        self.streams = "workers" in config["data"]
        self.console.print(f"[bold]{escape(run_dir.name)}[/]  {escape(summary(config))}")
        self.began, self.first = time.perf_counter(), -1
        if self.console.is_terminal:
            columns = (
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[metrics]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            )
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("train", total=None, epoch="-", metrics="")
            self.bar.start()

    def step(self, epoch: int, step: int, steps: int, samples: int, sums: dict[str, float]) -> None:
        if self.bar is None:
            return
        done = epoch * steps + step
        if self.first < 0:
            self.first, self.began = done, time.perf_counter()
        rate = (done - self.first) * self.batch_size / max(time.perf_counter() - self.began, 1e-9)
        loss = sum(value for name, value in sums.items() if name != "correct") / step
        accuracy = sums["correct"] / samples
        self.bar.update(
            self.task,
            completed=done,
            total=self.epochs * steps,
            epoch=f"{epoch + 1}/{self.epochs}",
            metrics=f"loss {loss:.3g}  train {accuracy:.2%}  {rate:.0f} samples/s",
        )

    def epoch(self, row: dict[str, Any]) -> None:
        rates = " ".join(f"{r:.3f}" for r in row["firing_rates"])
        loss = sum(row["losses"].values())
        self.console.print(
            f"epoch {row['epoch'] + 1:>3}/{self.epochs}  loss {loss:8.4g}  train {row['train_accuracy']:6.2%}  "
            f"val {percent(row['val_accuracy'])}  rates {rates}  lr {row['lr'] or 0:.2g}  "
            f"{row['samples_per_second']:.0f} samples/s"
            + (f", {row['loading_share']:.0%} of the time waiting for images" if self.streams else "")
        )
        self._warn(row)

    def finish(self, result: Result, pictures: Sequence[Path]) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        if result.status != "finished":
            return
        for picture in pictures:
            self.console.print(f"picture  {escape(str(picture))}")
        best, val = result.test_accuracy_best_val, result.val_accuracy
        self.console.print(
            f"[bold green]test accuracy {result.test_accuracy:.2%}[/] after the last epoch"
            + ("" if best is None else f" ({best:.2%} with the weights of the epoch best on validation)")
            + ("" if val is None else f"; validation {val:.2%}")
            + f"\ncost     {result.wall_seconds:.0f} s, peak {(result.peak_memory_bytes or 0) / 2**20:.0f} MiB, "
            f"{result.synaptic_operations_per_image:.3g} synaptic operations and "
            f"{result.energy_nj_per_image:.3g} nJ an image\n"
            f"result   {escape(result.run_dir)}/result.json"
        )

    def _warn(self, row: dict[str, Any]) -> None:
        """Warn once a layer and kind: a silent or saturated layer learns nothing and says nothing. Warn once where
        loading holds the steps up."""
        if self.streams and row["loading_share"] > WAITING:
            rate = row["samples_per_second"]
            alone = rate / max(1 - row["loading_share"], 1e-9)
            self._once(
                f"loading holds the steps up: {rate:.0f} samples/s, {alone:.0f} if they never waited; "
                "raise data.workers or lower data.size",
                "loading",
            )
        for i, rate in enumerate(row["firing_rates"]):
            silent, saturated = row["silent_share"][i], row["saturated_share"][i]
            if rate < QUIET or silent > MOSTLY:
                self._once(
                    f"layer{i + 1} is silent (rate {rate:.4f}, {silent:.0%} of neurons never fire); "
                    "lower neuron.v_th or use architecture.norm=batch",
                    f"silent{i}",
                )
            if rate > LOUD or saturated > MOSTLY:
                self._once(
                    f"layer{i + 1} is saturated (rate {rate:.3f}, {saturated:.0%} of neurons always fire); "
                    "raise neuron.v_th or use architecture.norm=batch",
                    f"saturated{i}",
                )

    def _once(self, message: str, key: str) -> None:
        if key not in self.warned:
            self.warned.add(key)
            self.console.print(f"[yellow]warning[/] {escape(message)}")


def summary(config: dict[str, Any]) -> str:
    """Return the run in one line: data, network, rule, loss, time steps, epochs."""
    trainer = config["trainer"]
    return (
        f"{config['data']['name']} {config['architecture']['spec']}  rule {config['rule']['name']}  "
        f"loss {config['loss']['name']}  T {trainer['steps']}  {trainer['epochs']} epochs  seed {config['seed']}"
    )


def percent(share: float | None) -> str:
    """Return a fraction as a percentage, and a dash for one that was not measured."""
    return "   -  " if share is None else f"{share:6.2%}"
