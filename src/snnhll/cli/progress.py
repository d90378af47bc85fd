"""A sweep on the terminal: which job is at work, and what the console shows of any run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from snnhll.sweeps.jobs import Job
from snnhll.sweeps.runner import Announcer
from snnhll.tracking.console import ConsoleTracker
from snnhll.tracking.tracker import Tracker


class OnScreen(Announcer):
    """Says which job begins, which failed and what is waited for."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._waiting = False

    def begins(self, job: Job, place: int, total: int) -> Tracker:
        self.console.print(f"[bold]{place}/{total}  {escape(job.label)}[/]")
        return ConsoleTracker(self.console)

    def failed(self, job: Job, reason: str) -> None:
        self.console.print(f"[red]failed[/] {escape(job.label)}: {escape(reason)}")

    def waits(self, jobs: Sequence[Job]) -> None:
        if not self._waiting:
            names = ", ".join(job.label for job in jobs)
            self.console.print(f"waiting for other workers: {escape(names)}")
        self._waiting = True
