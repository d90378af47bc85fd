"""Rounds of measurements, interleaved: each round measures everything once, so that a slow minute hits all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from snnhll.bench.contest import OURS, Measurement
from snnhll.errors import UserError

Runner = Callable[[dict[str, Any]], dict[str, Any]]


class WorkerError(UserError):
    """A measurement failed; the message is the last line the process left behind."""


@dataclass
class Row:
    """What all rounds found for one measurement; a list holds one value a round."""

    measurement: Measurement
    samples_per_second: list[float] = field(default_factory=list)
    peak_memory_bytes: list[int] = field(default_factory=list)
    baselines: set[str] = field(default_factory=set)
    failure: str | None = None

    @property
    def speed(self) -> float:
        """Median over the rounds, in samples a second."""
        return statistics.median(self.samples_per_second)

    @property
    def spread(self) -> tuple[float, float]:
        """Slowest and fastest round."""
        return min(self.samples_per_second), max(self.samples_per_second)

    @property
    def peak(self) -> int:
        """Median over the rounds, in bytes."""
        return round(statistics.median(self.peak_memory_bytes))

    def contract(self) -> dict[str, Any]:
        """Return the row as `--json` prints it."""
        m = self.measurement
        return {
            "work": m.work.name,
            "framework": m.framework,
            "setting": m.setting,
            "T": m.T,
            "batch": m.batch,
            "samples_per_second": self.speed,
            "peak_memory_bytes": self.peak,
            "rounds": len(self.samples_per_second),
        }


def interleave(
    measurements: list[Measurement], rounds: int, run: Runner, report: Callable[[str], None] = lambda line: None
) -> list[Row]:
    """Measure everything `rounds` times, round by round. What fails once is not tried again."""
    rows = [Row(m) for m in measurements]
    for number in range(1, rounds + 1):
        for row in rows:
            if row.failure is None:
                _measure(row, run)
                report(f"round {number}/{rounds}  {describe(row)}")
    return rows


def describe(row: Row) -> str:
    """Return the last round of a row in one line."""
    m = row.measurement
    head = f"{m.work.name}  T {m.T}  batch {m.batch}  {m.framework} {m.setting}: "
    if row.failure is not None:
        return f"{head}failed, {row.failure}"
    return f"{head}{row.samples_per_second[-1]:.4g} samples/s, {row.peak_memory_bytes[-1] / 2**20:.0f} MiB"


def _measure(row: Row, run: Runner) -> None:
    try:
        found = run(row.measurement.request())
    except WorkerError as error:
        row.failure = str(error)
        return
    row.samples_per_second.append(found["samples_per_second"])
    row.peak_memory_bytes.append(found["peak_memory_bytes"])
    row.baselines.add(found["baseline"])


def in_fresh_process(request: dict[str, Any], threads: int, warn: Callable[[str], None]) -> dict[str, Any]:
    """Answer a request in a new process with that many threads. Raises WorkerError when the process fails.

    warn: hears what our own code wrote to stderr, such as that a slow path ran.
    """
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    # -P: a file in the current folder must not pass for one of the frameworks
    command = [sys.executable, "-P", "-m", "snnhll.bench.worker", json.dumps(request | {"threads": threads})]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | counts, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise WorkerError(lines[-1] if lines else f"the process ended with code {done.returncode} (out of memory?)")
    if done.stderr and request.get("measurement", {}).get("framework") == OURS:
        warn(done.stderr.strip())
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
