"""Parallel runs from the command line: the numbers of a serial run, also when a process of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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

EPOCHS = 2
# 270 images in batches of 4 are 68 steps; losses are looked at, and a checkpoint is due, at step 50 too.
LONGER = [
    *TINY,
    "architecture.spec=4C3-P2-FC16-FCn",
    "data.limit=30",
    "trainer.batch_size=4",
    f"trainer.epochs={EPOCHS}",
    "trainer.checkpoint_minutes=1e-6",
    "architecture.dropout=0.2",
    "trainer.update=rate",
]
STAGES = ["trainer.parallel=layers", "trainer.processes=2"]


def _checkpointed(output_dir: Path) -> bool:
    """Whether the last checkpoint was written within an epoch."""
    if not output_dir.exists() or not run_folders(output_dir):
        return False
    checkpoint = only_run(output_dir) / "checkpoint.pt"
    return checkpoint.exists() and torch.load(checkpoint, weights_only=True)["progress"]["step"] > 0


def _followers(leader: int) -> list[int]:
    """The processes that a leader has started for its run."""
    children = map(int, Path(f"/proc/{leader}/task/{leader}/children").read_text().split())
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "zombie" not in status.read_text()


def _same_run(folder: Path, reference: Path) -> None:
    assert folder.name == reference.name
    assert list(map(repeatable, read_metrics(folder))) == list(map(repeatable, read_metrics(reference)))
    result = read_result(folder)
    assert result["status"] == "finished"
    assert repeatable(result) == repeatable(read_result(reference))


def test_a_stage_is_killed_and_the_run_continues_to_the_serial_numbers(snnhll: Command, tmp_path: Path) -> None:
    staged, serial = tmp_path / "staged", tmp_path / "serial"
    arguments = ["train", *LONGER, *STAGES, f"output_dir={staged}"]
    leader = subprocess.Popen([str(PROGRAM), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while leader.poll() is None and not _checkpointed(staged):
        time.sleep(0.002)
    (follower,) = _followers(leader.pid)
    os.kill(follower, signal.SIGKILL)
    _, said = leader.communicate(timeout=60)
    assert (
        said == "snnhll: process 2 of 2 was killed by SIGKILL; the same command continues from the last checkpoint.\n"
    )
    assert leader.returncode == 2
    assert not _alive(follower)
    folder = only_run(staged)
    result = read_result(folder)
    assert result["status"] == "failed"
    assert result["error"] in said

    assert snnhll(*arguments).code == 0
    assert snnhll("train", *LONGER, f"output_dir={serial}").code == 0
    assert len(read_metrics(folder)) == EPOCHS
    _same_run(folder, only_run(serial))


@pytest.mark.slow
def test_stages_end_when_the_leading_process_is_killed(tmp_path: Path) -> None:
    command = [str(PROGRAM), "train", *LONGER, *STAGES, f"output_dir={tmp_path}"]
    leader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while leader.poll() is None and not _checkpointed(tmp_path):
        time.sleep(0.002)
    (follower,) = _followers(leader.pid)
    leader.kill()
    _, said = leader.communicate(timeout=60)  # the follower has inherited stderr: this waits for its end
    assert said.startswith("snnhll: ")
    assert said.count("\n") == 1
    assert not _alive(follower)
    assert read_result(only_run(tmp_path))["status"] == "running"


@pytest.mark.slow
def test_torchrun_starts_the_processes_of_a_run(snnhll: Command, tmp_path: Path) -> None:
    """Shares of every batch, summed in another order: the losses of the first epoch agree to rounding."""
    own = [*TINY, "architecture.dropout=0.2", "loss=pred_sim_contrast"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", str(PROGRAM)]
    command = [*torchrun, "train", *own, "trainer.parallel=data", f"output_dir={tmp_path / 'shared'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    assert snnhll("train", *own, f"output_dir={tmp_path / 'serial'}").code == 0
    shared, serial = only_run(tmp_path / "shared"), only_run(tmp_path / "serial")
    assert shared.name == serial.name
    assert read_result(shared)["status"] == "finished"
    (one,), (other,) = read_metrics(shared), read_metrics(serial)
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
    assert one["firing_rates"] == pytest.approx(other["firing_rates"], rel=1e-2)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.parallel=layers", "rule=bptt"], "trainer.parallel: BPTTRule is not laid out in stages"),
        (["trainer.parallel=layers", "trainer.update=online"], "trainer.update: online takes every time step"),
        (["trainer.parallel=layers", "trainer.processes=9"], "trainer.processes: 9 stages for 2 parts"),
        (["trainer.parallel=data", "rule=dfa"], "trainer.parallel: DFARule takes more from a batch"),
        (["trainer.parallel=data", "loss.weighting=scale"], "loss.weighting: weights that follow the losses"),
        (["trainer.parallel=data", "architecture.norm=bntt"], "architecture.norm: bntt takes statistics"),
        (["trainer.parallel=data", "encoding=poisson"], "encoding: its random numbers"),
        (["trainer.parallel=data", "trainer.processes=9", "trainer.batch_size=8"], "no share for each of 9"),
        (["trainer.parallel=pipeline"], "'pipeline' is not an option"),
    ],
)
def test_what_cannot_be_parallel_is_refused_in_one_line(
    snnhll: Command, tmp_path: Path, overrides: list[str], said: str
) -> None:
    answer = snnhll("train", *TINY, *overrides, "output_dir=runs")
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_processes_of_torchrun_need_to_be_told_what_to_share(snnhll: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    answer = snnhll("train", *TINY, "output_dir=runs")
    assert answer.code == 2
    assert "choose data or layers" in answer.err
