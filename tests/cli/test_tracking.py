"""Weights & Biases mirrors a run; it is never needed and never stops one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from cli_runs import TINY, Command, Finished, only_run, read_result, repeatable

WITH_WANDB = [o for o in TINY if o != "tracking=none"]


def test_offline_by_default_into_the_run_folder(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    answer = snnhll("train", *WITH_WANDB, "output_dir=runs")
    assert answer.code == 0
    folder = only_run(tmp_path / "runs")
    (run,) = (folder / "wandb").glob("offline-run-*")
    (log,) = run.glob("*.wandb")
    deadline = time.monotonic() + 60  # W&B's own process may still be closing the file
    while b"test_accuracy" not in log.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert b"test_accuracy" in log.read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
    assert "warning" not in answer.out
    assert repeatable(read_result(folder)) == repeatable(finished.result)


def test_a_missing_wandb_does_not_stop_a_run(
    snnhll: Command, finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    answer = snnhll("train", *WITH_WANDB, "output_dir=runs")
    assert answer.code == 0
    assert answer.out.count("W&B is left out of this run") == 1
    assert repeatable(read_result(only_run(tmp_path / "runs"))) == repeatable(finished.result)
