"""Tables: what was published and what runs here reached, one row a setting, over its seeds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snnhll.config import Config
from snnhll.reports.groups import Group, grouped
from snnhll.reports.metric import DROP, Metric
from snnhll.reports.statistics import holm, mean, paired_p, sample_std
from snnhll.results import Result, RunFolder
from snnhll.sweeps.definition import Row
from snnhll.sweeps.estimate import spoken
from snnhll.sweeps.jobs import Job, Plan

PUBLISHED_ONLY = "published only"
PRINTED = "paper"  # the scale at which runs have the settings of the published ones


@dataclass(frozen=True)
class Run:
    """A finished run as a row of a table sees it."""

    seed: int
    result: Result
    config: Config
    epochs: list[dict[str, Any]]


@dataclass
class TableRow:
    """One setting. values: the metric of each finished seed. failed: reasons by seed.

    details: further numbers by their heading, of each seed. comparable: whether runs and published figure are on the
    same data. task: data and noise, where rows of a table differ in them. best, p: set by the table, from its rows on
    the same task.
    """

    name: str
    about: Mapping[str, Any] = field(default_factory=dict)
    published: float | None = None
    reference: str | None = None
    n_wanted: int = 0
    epochs: int | None = None
    values: dict[int, float] = field(default_factory=dict)
    details: dict[str, dict[int, float]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    comparable: bool = True
    task: str = ""
    best: bool = False
    p: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean over the finished seeds."""
        return mean(list(self.values.values()))

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the finished seeds."""
        return sample_std(list(self.values.values()))

    @property
    def n(self) -> int:
        """Number of finished seeds."""
        return len(self.values)

    @property
    def status(self) -> str:
        """`finished`, `failed` when any seed did, `2/3 seeds` when some are missing, `published only`."""
        if self.n_wanted == 0:
            return PUBLISHED_ONLY
        if self.failed:
            return "failed"
        return "finished" if self.n == self.n_wanted else f"{self.n}/{self.n_wanted} seeds"

    @property
    def difference(self) -> float | None:
        """Ours minus published, of complete rows on the same data."""
        if self.mean is None or self.published is None or self.status != "finished" or not self.comparable:
            return None
        return self.mean - self.published

    @property
    def wall_seconds(self) -> float | None:
        """Mean time of a finished run."""
        return mean([r.result.wall_seconds for r in self.runs if r.result.wall_seconds is not None])

    @property
    def peak_memory_bytes(self) -> int | None:
        """Highest peak of a finished run."""
        return max(
            (r.result.peak_memory_bytes for r in self.runs if r.result.peak_memory_bytes is not None), default=None
        )

    @property
    def commit(self) -> str | None:
        """Commits of the finished runs, more than one separated by commas."""
        return commits(self.runs)


@dataclass
class Table:
    """A table and what a reader must know to trust it. caveat: what even its figures must say. command: makes its runs,
    None where they were made one by one."""

    name: str
    title: str
    metric: Metric
    rows: list[TableRow]
    settings: str = ""
    notes: list[str] = field(default_factory=list)
    caveat: str = ""
    command: str | None = None

    def __post_init__(self) -> None:
        _mark_best(self)
        self.notes = [*self.notes, *_standing_notes(self)]

    @property
    def runs(self) -> list[Run]:
        """All finished runs of the table."""
        return [run for row in self.rows for run in row.runs]

    @property
    def commit(self) -> str | None:
        """Commits of all runs, more than one separated by commas."""
        return commits(self.runs)


def commits(runs: Sequence[Run]) -> str | None:
    """Return the commits that `runs` were made with, None when none is known."""
    return ", ".join(sorted({run.result.commit for run in runs if run.result.commit})) or None


def of_plan(plan: Plan, metric: str | None = None) -> Table:
    """Return the table of a sweep from whatever of its runs has finished. metric: in place of the sweep's own."""
    shown = Metric(metric or plan.sweep.metric)
    rows = [_row(row, plan.of(row), shown, row.data or plan.sweep.data) for row in plan.sweep.rows]
    if not shown.matches(Metric(plan.sweep.metric)):
        for row in rows:
            row.published = None  # a figure of something else
    notes, caveat = [], ""
    if foreign := sorted({run.result.data for row in rows if not row.comparable for run in row.runs}):
        caveat = f"ours: run on {', '.join(foreign)}, scale={plan.scale}"
        notes.append(
            f"Run on {', '.join(foreign)} (scale={plan.scale}): not the data of the published figures, so no "
            f"difference is given."
        )
    elif plan.scale != PRINTED and any(row.runs and row.published is not None for row in rows):
        caveat = f"ours: scale={plan.scale}, smaller than what was published"
        notes.append(
            f"Run at scale={plan.scale}: fewer images and epochs, and smaller networks, than the published figures had."
        )
    notes += [f"failed: {row.name}, seed {seed}: {why}" for row in rows for seed, why in row.failed.items()]
    settings = " ".join(o for o in plan.overrides if not o.startswith("output_dir=")) or f"scale={plan.scale}"
    command = f"snnhll sweep {shlex.quote(plan.sweep.called)} {settings}"
    return Table(plan.sweep.name, plan.sweep.title, shown, rows, settings, notes, caveat, command)


def _row(row: Row, jobs: list[Job], metric: Metric, data: str | None) -> TableRow:
    filled = TableRow(row.name, row.about, row.published, row.reference, len(jobs))
    filled.task = " ".join([*row.noise, row.data or ""])
    for job in jobs:
        filled.epochs = job.config["trainer"]["epochs"]
        count(filled, job.seed, job.folder, job.config, metric, row.noise)
    filled.comparable = all(data is None or run.result.data == data for run in filled.runs)
    return filled


def count(row: TableRow, seed: int, folder: RunFolder, config: Config, metric: Metric, noise: list[str]) -> None:
    """Count the run of `folder` into its row: as a value, as failed, or not at all while it is unfinished."""
    result = folder.result()
    if result is None:
        return
    if result.status == "failed":
        row.failed[seed] = result.error or "unknown, see error.txt in its folder"
        return
    value = metric.of(result, noise) if result.status == "finished" else None
    if value is None:
        return
    row.runs.append(Run(seed, result, config, folder.metrics()))
    row.values[seed] = value
    for heading, name in _details(metric).items():
        found = Metric(name).of(result, noise)
        if found is not None:
            row.details.setdefault(heading, {})[seed] = found
    if metric.name == DROP and result.test_accuracy is not None:
        row.details.setdefault("noisy", {})[seed] = 100 * result.test_accuracy - value


def _keys(group: Group, folders: Sequence[Path]) -> list[int]:
    """Return what the runs of a group are known by: their seeds, or where two share one, numbers nobody else has."""
    seeds = [int(config["seed"]) for _, config in group.members]
    return seeds if len(set(seeds)) == len(seeds) else [-1 - folders.index(path) for path, _ in group.members]


def _details(metric: Metric) -> dict[str, str]:
    """Return which further metrics stand beside one, by their heading."""
    if metric.name == DROP:
        return {"clean": "test_accuracy"}
    if metric.name == "test_accuracy":
        best = "test accuracy in %, epoch best on validation"
        return {best: "test_accuracy_best_val", "nJ an image": "energy_nj_per_image"}
    return {}


def _mark_best(table: Table) -> None:
    """Mark the best complete row of each task, and test its other complete rows against that one, seed by seed."""
    for task in dict.fromkeys(row.task for row in table.rows):
        complete = {i: row.mean for i, row in enumerate(table.rows) if row.task == task and row.status == "finished"}
        known = {i: value for i, value in complete.items() if value is not None}
        if len(known) < 2:
            continue
        top = (min if table.metric.lower_is_better else max)(known.values())
        leader = next(table.rows[i] for i, value in known.items() if value == top)
        tested: dict[int, float] = {}
        for i, value in known.items():
            table.rows[i].best = value == top
            p = None if value == top else paired_p(table.rows[i].values, leader.values)
            if p is not None:
                tested[i] = p
        for i, corrected in zip(tested, holm([*tested.values()]), strict=True):
            table.rows[i].p = corrected


def _standing_notes(table: Table) -> list[str]:
    notes = []
    if table.runs:
        where = f"; {table.metric.measured}" if table.metric.measured else ""
        notes.append(f"Ours: mean ± sample standard deviation over n seeds{where}.")
        notes.append(_effort(table.runs))
    if any(row.best for row in table.rows):
        each = " on each task" if len({row.task for row in table.rows}) > 1 else ""
        notes.append(f"Best of the complete rows{each}: in bold, on the terminal with *.")
    if any(row.p is not None for row in table.rows):
        notes.append("p: two-sided paired t-test over seeds against the best row, corrected for their number (Holm).")
    return notes


def _effort(runs: Sequence[Run]) -> str:
    """Return how long the runs took and on what; a run that rows share counts once."""
    results = {run.result.run_dir: run.result for run in runs}.values()
    took = spoken(sum(result.wall_seconds or 0 for result in results))
    return f"{_runs(len(results))}, {took} in all, on {'; '.join(sorted({r.device for r in results}))}."


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def of_runs(folders: Sequence[Path], metric: str, group_by: Sequence[str]) -> Table:
    """Return a table that compares any runs. group_by: keys of the configuration; default: all but the seed.

    Raises UserError for a folder without a run, and for a key that the runs do not have.
    """
    shown = Metric(metric)
    rows, notes = [], []
    for group in grouped(folders, group_by):
        row = TableRow(group.name, n_wanted=len(group.members))
        for key, (path, config) in zip(_keys(group, folders), group.members, strict=True):
            row.epochs = config["trainer"]["epochs"]
            count(row, key, RunFolder(path), config, shown, [])
            if key in row.failed:
                notes.append(f"failed: {path}: {row.failed[key]}")
        rows.append(row)
        if group.mixed:
            notes.append(f"{row.name}: averages over runs that also differ in {', '.join(group.mixed)}.")
    return Table("runs", f"{_runs(len(folders))} compared", shown, rows, notes=notes)
