"""Running the jobs of a sweep here, one after another: what finished stays, what was interrupted continues, what fails
is written down and the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from snnhll.config import Config, take_own
from snnhll.experiment import run
from snnhll.results import BusyError
from snnhll.sweeps.jobs import Job, is_held
from snnhll.sweeps.noise import measure_noise
from snnhll.tracking.tracker import Tracker

POLL_SECONDS = 5.0  # between looks at runs that other workers hold


class Announcer:
    """Hears how a sweep goes. The base class is silent."""

    def begins(self, job: Job, place: int, total: int) -> Tracker:
        """A job begins, the `place`-th of `total`; returns what shows its progress."""
        return Tracker()

    def failed(self, job: Job, reason: str) -> None:
        """A job failed."""

    def waits(self, jobs: Sequence[Job]) -> None:
        """Nothing is left but jobs that other workers hold."""


def work(
    jobs: Sequence[Job], sweep: str, announcer: Announcer, pause: Callable[[float], None] = time.sleep
) -> dict[str, str]:
    """Bring every job to its end. Returns the reason of each failure, by the label of the job.

    Runs that another worker holds are left to it and looked at again when the others are done: if that worker dies,
    its lock is free and the run continues here.
    """
    failures: dict[str, str] = {}
    pending, total, place = list(jobs), len(jobs), 0
    trained: set[Path] = set()  # runs that rows share are repeated once, where force=true asks for it
    while pending:
        held: list[Job] = []
        for job in pending:
            path = job.folder.path
            if job.state() == "finished" and (path in trained or not job.config["force"]):
                continue
            if is_held(job.folder):  # asked first, so that it is not announced at every look
                held.append(job)
                continue
            try:
                display = announcer.begins(job, place := place + 1, total)
                work_on(job, sweep, display, repeat=path not in trained)
                trained.add(path)
            except BusyError:  # taken in the meantime
                held.append(job)
                place -= 1
            except Exception as error:  # whatever broke one job must not break the others
                failures[job.label] = " ".join(str(error).split()) or type(error).__name__
                announcer.failed(job, failures[job.label])
        pending = held
        if held:
            announcer.waits(held)
            pause(POLL_SECONDS)
    return failures


def work_on(job: Job, sweep: str, display: Tracker, repeat: bool = True) -> None:
    """Train one job and evaluate it under noise where its row asks for that. repeat: whether force=true counts."""
    config = job.config | {"force": job.config["force"] and repeat}
    run(labelled(config, sweep, job.row.name), job.overrides, display, keep_failure=True)
    if job.row.noise:
        measure_noise(job.folder.path, job.row.noise, config, take_own(job.overrides)[0])


def labelled(config: Config, sweep: str, row: str) -> Config:
    """Return `config` with the run's place in the sweep told to Weights & Biases: group and job type."""
    tracking = config["tracking"]
    if tracking["name"] != "wandb":
        return config
    return config | {"tracking": tracking | {"group": tracking["group"] or sweep, "job_type": row}}
