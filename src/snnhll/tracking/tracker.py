"""The interface of everything that shows or mirrors a run. The run folder is the truth; trackers only copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnhll.results import Result


class Tracker:
    """Hears of a run's life. The base class does nothing, which is `tracking=none`."""

    def start(self, config: dict[str, Any], run_dir: Path) -> None:
        """A run begins or continues in `run_dir`."""

    def step(self, epoch: int, step: int, steps: int, samples: int, sums: dict[str, float]) -> None:
        """`step` of the epoch's `steps` and `samples` images are done; `sums` adds each metric over them."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch ended; `row` is its line in metrics.jsonl."""

    def finish(self, result: Result, pictures: Sequence[Path]) -> None:
        """The run ended, finished or failed."""


class Trackers(Tracker):
    """Several trackers as one."""

    def __init__(self, *members: Tracker) -> None:
        self.members = members

    def start(self, config: dict[str, Any], run_dir: Path) -> None:
        for member in self.members:
            member.start(config, run_dir)

    def step(self, epoch: int, step: int, steps: int, samples: int, sums: dict[str, float]) -> None:
        for member in self.members:
            member.step(epoch, step, steps, samples, sums)

    def epoch(self, row: dict[str, Any]) -> None:
        for member in self.members:
            member.epoch(row)

    def finish(self, result: Result, pictures: Sequence[Path]) -> None:
        for member in self.members:
            member.finish(result, pictures)
