"""`snnhll train` on event files in the real formats, from the folder to a trained network; a damaged file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Command, only_run, read_result

from event_writers import SETS

SMALL = (
    "encoding=frames",
    "trainer.steps=4",
    "trainer.epochs=20",
    "trainer.batch_size=4",
    "architecture.spec=FC64-FCn",
    "architecture.dropout=0",
    "optimizer.lr=0.005",
    "data.validation=0",
    "data.root=sets",
    "output_dir=runs",
    "tracking=none",
    "threads=1",
)


@pytest.mark.parametrize("name", list(SETS))
def test_a_run_learns_from_event_files(snnhll: Command, name: str, tmp_path: Path) -> None:
    SETS[name][0](tmp_path / "sets")
    pool = "data.pool=1" if name == "n_mnist" else "data.pool=4"
    answer = snnhll("train", f"data={name.split()[0]}", pool, *SMALL)
    assert (answer.code, answer.err) == (0, "")
    result = read_result(only_run(tmp_path / "runs"))
    assert result["train_accuracy"] > 0.9  # every class flickers in a column of its own; chance is 0.1
    assert result["test_accuracy"] > 0.6


@pytest.mark.parametrize("name", list(SETS))
def test_a_damaged_event_file_gets_one_line(snnhll: Command, name: str, tmp_path: Path) -> None:
    make, file = SETS[name]
    make(tmp_path / "sets")
    damaged = tmp_path / "sets" / file
    damaged.write_bytes(damaged.read_bytes()[:-3])
    answer = snnhll("train", f"data={name.split()[0]}", *SMALL)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(f"snnhll: sets/{file} is damaged: ")
    assert not (tmp_path / "runs").exists()
