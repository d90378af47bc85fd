"""Shared by the tests of the command line: tiny runs, the command in its own process, reading what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TINY = ("data.limit=8", "trainer.epochs=1", "architecture.spec=4C3-P2-FCn", "tracking=none", "threads=1")
PROGRAM = Path(sys.executable).parent / "snnhll"

# They say how long something took, where it ran or how the checkout stood; all else of a run repeats bit for bit.
MEASURED = {
    "samples_per_second",
    "loading_share",
    "seconds",
    "wall_seconds",
    "peak_memory_bytes",
    "run_dir",
    "overrides",
    "pictures",
    "commit",
}


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@dataclass(frozen=True)
class Finished:
    """A run that the command finished in a process of its own."""

    answer: Answer
    folder: Path
    overrides: list[str]

    @property
    def result(self) -> dict[str, Any]:
        return read_result(self.folder)


def in_own_process(arguments: list[str], cwd: Path, **environment: str) -> Answer:
    done = subprocess.run(
        [str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def only_run(output_dir: Path) -> Path:
    """The one run folder in an output folder."""
    (folder,) = run_folders(output_dir)
    return folder


def run_folders(output_dir: Path) -> list[Path]:
    return sorted(path for path in output_dir.iterdir() if not path.name.startswith("."))


def read_result(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def repeatable(row: dict[str, Any]) -> dict[str, Any]:
    """What an equal run must repeat to the bit."""
    return {key: value for key, value in row.items() if key not in MEASURED}
