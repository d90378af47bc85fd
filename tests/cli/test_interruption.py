"""kill -9 at any moment, then the same command: the numbers of a run that was never killed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from cli_runs import (
    PROGRAM,
    TINY,
    Command,
    only_run,
    read_metrics,
    read_result,
    repeatable,
    run_folders,
)

EPOCHS = 8
# 270 images in batches of 4 are 68 steps; losses are looked at, and a checkpoint is due, at step 50 too.
LONGER = [*TINY, "data.limit=30", "trainer.batch_size=4", f"trainer.epochs={EPOCHS}", "trainer.checkpoint_minutes=1e-6"]


def _mid_epoch(output_dir: Path) -> bool:
    """Whether the last checkpoint was written within an epoch, past the first one."""
    if not output_dir.exists() or not run_folders(output_dir):
        return False
    checkpoint = only_run(output_dir) / "checkpoint.pt"
    if not checkpoint.exists():
        return False
    progress = torch.load(checkpoint, weights_only=True)["progress"]
    return bool(progress["epoch"] >= 1 and progress["step"] > 0)


def _kill_within_an_epoch(command: list[str], output_dir: Path) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not _mid_epoch(output_dir):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_killed_run_continues_to_the_same_numbers(snnhll: Command, tmp_path: Path) -> None:
    killed, untouched = tmp_path / "killed", tmp_path / "untouched"
    arguments = ["train", *LONGER, f"output_dir={killed}"]
    _kill_within_an_epoch([str(PROGRAM), *arguments], killed)
    folder = only_run(killed)
    assert read_result(folder)["status"] == "running"
    assert 1 <= len(read_metrics(folder)) < EPOCHS

    assert snnhll(*arguments).code == 0
    assert snnhll("train", *LONGER, f"output_dir={untouched}").code == 0

    reference = only_run(untouched)
    assert folder.name == reference.name
    assert len(read_metrics(folder)) == EPOCHS
    assert list(map(repeatable, read_metrics(folder))) == list(map(repeatable, read_metrics(reference)))
    result = read_result(folder)
    assert result["status"] == "finished"
    assert repeatable(result) == repeatable(read_result(reference))


def test_interrupt_says_how_to_go_on(snnhll: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snnhll.experiment.train", interrupted)
    answer = snnhll("train", *TINY, "output_dir=runs")
    assert answer.code == 130
    assert answer.err == "snnhll: interrupted; the same command continues from the last checkpoint.\n"
    assert read_result(only_run(tmp_path / "runs"))["status"] == "running"
