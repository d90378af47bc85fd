"""snnhll sweep                              the sweeps there are
snnhll sweep NAME|FILE ... [KEY=VALUE ...] run what is missing of one or more sweeps, then print their tables

Overrides go to every job. What finished is kept, what was interrupted continues, what failed is tried again; a job that
fails does not stop the others. NAME is a table of the thesis, `all` for all of those, or a study of our own; FILE is
a sweep file of yours, written like sweeps/table_3_5.yaml.

  scale=smoke|cpu|paper     how large: epochs, share of the data, width, seeds (snnhll ls scale)
  seed=0,1,2                the seeds, in place of those of the file
  launcher=joblib|slurm|ray where the jobs run (snnhll ls launcher); default: here, one after another
  --dry-run                 list the jobs, their state and the estimated time left; run nothing

  snnhll sweep table_3_5 scale=smoke
  snnhll sweep table_3_2 scale=cpu data.root=DIR --dry-run
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from snnhll.cli.columns import aligned
from snnhll.cli.flags import is_override
from snnhll.cli.report import terminal
from snnhll.config import compose, take_own
from snnhll.errors import UserError, nearest
from snnhll.sweeps.definition import describe, names, read, tables
from snnhll.sweeps.estimate import measured_speed, seconds_left, spoken
from snnhll.sweeps.jobs import Job, Plan, check_jobs, plan
from snnhll.sweeps.launch import is_launching, launch
from snnhll.sweeps.memo import remember

FLAGS = {"--dry-run": ""}


def main(arguments: list[str]) -> int:
    """Run or list a sweep. Returns 0, or 1 when a job failed or was left unfinished."""
    overrides = [a for a in arguments if is_override(a)]
    flags = [a for a in arguments if a.startswith("-")]
    chosen = [a for a in arguments if a not in overrides and a not in flags]
    if unknown := next((flag for flag in flags if flag not in FLAGS), None):
        raise UserError(f"{unknown}: no such flag.{nearest(unknown, FLAGS)}")
    if not chosen:
        if overrides or flags:
            raise UserError(f"snnhll sweep needs the name of a sweep or a file: {', '.join(names())}.")
        print("\n".join(aligned([(name, describe(name)) for name in names()])))
        return 0
    preset = [o for o in overrides if is_launching(o)]
    shared = [o for o in overrides if o not in preset]
    if preset:
        preset += take_own(shared)[0]  # which a launcher may be one of
        compose(preset)  # one that is misspelt or not installed shows before anything is planned
    plans = [plan(read(name), shared) for name in (tables() if chosen == ["all"] else chosen)]
    for planned in plans:
        check_jobs(planned)
    if flags:
        print("\n".join(listing(plans)))
        return 0
    return _work_on_all(plans, preset)


def _work_on_all(plans: Sequence[Plan], preset: Sequence[str]) -> int:
    """Say how long the sweeps will take, then run them one after another, whatever becomes of each."""
    print(summary(plans), flush=True)
    return max([_work(planned, preset) for planned in plans])


def _work(planned: Plan, preset: Sequence[str]) -> int:
    console = terminal()
    if not planned.jobs:
        console.print(f"{planned.sweep.name} has nothing to run: its rows only quote published figures.")
        return 0
    remember(planned)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: console.print(f"[yellow]warning[/] {escape(str(message))}")
        failures = _launched(planned, preset) if preset else _here(planned, console)
        _conclude(planned, failures, console)
    return 1 if failures else 0


def _here(planned: Plan, console: Console) -> dict[str, str]:
    from snnhll.cli.progress import OnScreen
    from snnhll.sweeps.runner import work

    return work(planned.jobs, planned.sweep.name, OnScreen(console))


def _launched(planned: Plan, preset: Sequence[str]) -> dict[str, str]:
    """Hand what is unfinished to a launcher and read from the run folders what became of it."""
    todo = [job for job in planned.jobs if job.state() != "finished" or job.config["force"]]
    repeated = {job.label: job.folder.result() for job in todo if job.state() == "finished"}
    if todo:
        try:
            launch(todo, planned.sweep.name, preset)
        except UserError as error:
            if not any(job.folder.path.exists() for job in todo):
                raise
            print(f"the launcher broke off: {error}", file=sys.stderr)  # what became of the jobs is in their folders
    left = [job for job in todo if job.state() != "finished" or job.folder.result() == repeated.get(job.label)]
    return {job.label: _why(job) for job in left}


def _why(job: Job) -> str:
    result = job.folder.result()
    if result is not None and result.status == "failed":
        return result.error or "unknown"
    held = "another worker has it" if job.state() == "running" else "its worker ended before the run did"
    return f"unfinished: {held}; the same command continues the sweep"


def _conclude(planned: Plan, failures: dict[str, str], console: Console) -> None:
    """Print the table and what failed, and mirror both to Weights & Biases where the jobs were."""
    from snnhll.reports.formats import to_rich
    from snnhll.reports.tables import of_plan
    from snnhll.tracking.wandb_table import log_table

    table = of_plan(planned)
    console.print(to_rich(table))
    log_table(table, planned.jobs[0].config)
    done = sum(job.state() == "finished" for job in planned.jobs)
    console.print(f"{done} of {len(planned.jobs)} jobs finished")
    folders = {job.label: job.folder.path for job in planned.jobs}
    for label, reason in failures.items():
        print(f"failed: {label}: {reason} (see {folders[label]})", file=sys.stderr)


def listing(plans: Sequence[Plan]) -> list[str]:
    """Return the jobs with their state and the estimated time left, one a line, and the sum below."""
    jobs = [job for planned in plans for job in planned.jobs]
    left = seconds_left(jobs, measured_speed)
    rows = [("row", "seed", "state", "left", "run folder")]
    rows += [
        (job.row.name, str(job.seed), job.state(), spoken(left[i]), str(job.folder.path)) for i, job in enumerate(jobs)
    ]
    return [*aligned(rows), summary(plans, left)]


def summary(plans: Sequence[Plan], left: Sequence[float | None] | None = None) -> str:
    """Return how many jobs there are, in which states, and how long those left will take one after another."""
    jobs = [job for planned in plans for job in planned.jobs]
    left = seconds_left(jobs, measured_speed) if left is None else left
    states = [job.state() for job in jobs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "nothing to run"
    known = [seconds for seconds in left if seconds is not None]
    unknown = "" if len(known) == len(left) else f", {len(left) - len(known)} of unknown length not counted"
    total = spoken(sum(known)) if known or not left else "unknown"
    scale = f"scale={plans[0].scale}: "
    return f"{scale}{len(jobs)} jobs: {counts}; about {total} left, one job at a time{unknown}"
