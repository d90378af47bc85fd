"""The jobs of a sweep: one run for every row and seed, each known by the folder that its configuration names."""

from __future__ import annotations

import copy
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from snnhll.build import PositiveInt, convert
from snnhll.check import check_config
from snnhll.config import OWN, Config, compose, plain, run_name, take_own
from snnhll.errors import UserError
from snnhll.results import RunFolder
from snnhll.sweeps.definition import Row, Sweep
from snnhll.sweeps.noise import noisy_accuracy

State = Literal["finished", "failed", "running", "interrupted", "waiting"]
MAY_SCALE = ("scale", "experiment=", *OWN)  # how overrides begin that choose a scale, or where it is found


@dataclass(frozen=True)
class Job:
    """One run of a sweep. overrides: what `snnhll train` would be given for the same run."""

    row: Row
    seed: int
    overrides: list[str]
    config: Config

    @property
    def folder(self) -> RunFolder:
        """The folder of the run, which may not exist yet."""
        return RunFolder(Path(str(self.config["output_dir"])) / run_name(self.config))

    @property
    def label(self) -> str:
        """How messages name the job."""
        return f"{self.row.name} seed {self.seed}"

    def evaluated(self) -> bool:
        """Return whether the run was evaluated under the noise its row asks for."""
        return not self.row.noise or noisy_accuracy(self.folder.path, self.row.noise) is not None

    def state(self) -> State:
        """Return how far the run is, from its folder alone."""
        result = self.folder.result()
        if result is None and not (self.folder.path / "config.yaml").exists():
            return "running" if is_held(self.folder) else "waiting"
        if result is not None and result.status == "finished":
            return "finished" if self.evaluated() else "interrupted"
        if is_held(self.folder):
            return "running"
        return "failed" if result is not None and result.status == "failed" else "interrupted"


@dataclass(frozen=True)
class Plan:
    """A sweep with its jobs. overrides: those of the user, for every job. scale: name of the scale they chose."""

    sweep: Sweep
    overrides: list[str]
    seeds: list[int]
    jobs: list[Job]
    scale: str

    def of(self, row: Row) -> list[Job]:
        """Return the jobs of one row."""
        return [job for job in self.jobs if job.row is row]


def plan(sweep: Sweep, overrides: Sequence[str] = ()) -> Plan:
    """Compose every job of `sweep`, with the user's `overrides` last.

    `seed=A,B` among them names the seeds; otherwise they are those of the file, at most scale.seeds of them.
    Raises UserError naming the file, the row and the mistake.
    """
    chosen = [o for o in overrides if not o.startswith("seed=")]
    asked = next((o for o in reversed(overrides) if o.startswith("seed=")), None)
    scale = compose([o for o in chosen if o.startswith(MAY_SCALE)])["scale"]  # others may need what a row chooses
    most = convert(scale["seeds"], PositiveInt | None, "scale.seeds")
    seeds = sweep.seeds[:most] if asked is None else _numbers(asked)
    composed: dict[tuple[str, ...], Config] = {}
    jobs = [job for row in sweep.rows for job in _jobs(sweep, row, chosen, seeds, composed)]
    return Plan(sweep, list(overrides), seeds, jobs, scale["name"])


def _jobs(
    sweep: Sweep, row: Row, chosen: list[str], seeds: list[int], composed: dict[tuple[str, ...], Config]
) -> list[Job]:
    """Return the jobs of a row. composed: configurations by their overrides, for rows that share them."""
    if row.overrides is None:
        return []
    shared = (*sweep.overrides, *row.overrides, *chosen)
    with _told(sweep.where(row)):
        if shared not in composed:
            composed[shared] = compose(shared, resolve=False)
        return [Job(row, seed, [*shared, f"seed={seed}"], _with_seed(composed[shared], seed)) for seed in seeds]


def check_jobs(plan: Plan) -> None:
    """Check types and ranges of everything that the jobs would build. Raises UserError naming file, row and mistake."""
    for row in plan.sweep.rows:
        _check_row(plan.sweep, row, plan.of(row))


def mistakes(sweep: Sweep, own: Sequence[str] = ()) -> list[str]:
    """Return what is wrong with a sweep as its file has it: of every row the first mistake, with file and row.

    own: overrides by which options of the user's own are found and trusted.
    """
    found = []
    for row in sweep.rows:
        try:
            _check_row(sweep, row, _jobs(sweep, row, [*own], sweep.seeds[:1], {}))
        except UserError as error:
            found.append(str(error))
    return found


def _check_row(sweep: Sweep, row: Row, jobs: Sequence[Job]) -> None:
    """Check what the jobs of a row would build, and the noise they are to be evaluated under."""
    with _told(sweep.where(row)):
        for job in jobs[:1]:
            check_config(job.config)
        if row.noise:
            check_config(compose([*row.noise, *take_own(jobs[0].overrides if jobs else [])[0]]))


def _with_seed(template: Config, seed: int) -> Config:
    """Return a composed configuration with its seed set and everything that hangs on it resolved."""
    from omegaconf import OmegaConf

    return plain(OmegaConf.create(copy.deepcopy(template) | {"seed": seed}))


def _numbers(override: str) -> list[int]:
    values = override.partition("=")[2]
    try:
        seeds = [int(value) for value in values.split(",")]
    except ValueError:
        raise UserError(f"{override}: expected whole numbers separated by commas, as in seed=0,1,2.") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"{override}: expected different seeds, none below 0.")
    return seeds


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Tell a mistake with the row it is in."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def is_held(folder: RunFolder) -> bool:
    """Return whether a process is at work on the run of `folder`."""
    try:
        with (folder.path / ".lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def unique(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs without those whose run an earlier one is already: rows may share runs."""
    first: dict[Path, Job] = {}
    for job in jobs:
        first.setdefault(job.folder.path, job)
    return list(first.values())
