"""snnhll -m: a sweep over comma-separated values, expanded and launched by Hydra; every job is a run of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from snnhll.cli.hydra_jobs import through_hydra
from snnhll.cli.one_run import train
from snnhll.config import Config, compose, explain, plain
from snnhll.errors import UserError
from snnhll.results import finished


def sweep(overrides: list[str]) -> int:
    """Run every job. A job that fails leaves the others alone. Returns 0, or 1 when a job failed."""
    ended = Outcomes(check(overrides).resolve() / ".multirun" / f"ended-{os.getpid()}.jsonl")

    def job(node: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        own = [*HydraConfig.get().overrides.task]
        try:
            result = train(plain(node), own, keep_failure=True)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"failed: {' '.join(own)}: {reason}", file=sys.stderr, flush=True)
            ended.add(own, reason)
            return None
        ended.add(own, None)
        return result.val_accuracy  # what a sweeper that searches wants to know

    try:
        through_hydra(["-m"], overrides, job)
    finally:
        jobs = ended.take()
    if not jobs:
        raise UserError("The overrides stand for no run; see what they name with `snnhll ls GROUP`.")
    failed = [(own, reason) for own, reason in jobs if reason is not None]
    print(f"{len(jobs) - len(failed)} of {len(jobs)} runs finished")
    for own, reason in failed:
        print(f"failed: {own}: {reason}")
    return 1 if failed else 0


class Outcomes:
    """How the jobs of a sweep ended: a file of lines, since a launcher may run them in other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, overrides: list[str], failure: str | None) -> None:
        """Add a job, with the reason if it failed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps([" ".join(overrides), failure]) + "\n")

    def take(self) -> list[tuple[str, str | None]]:
        """Return all jobs and remove the file."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines()
        self.path.unlink()
        return [tuple(json.loads(line)) for line in lines]


def check(overrides: list[str]) -> Path:
    """Compose and check every value of a sweep once, so that a mistake shows before the first job and any folder.

    Returns output_dir. Raises UserError for what cannot be composed, or has a wrong type or range.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except Exception as error:
        raise explain(error, overrides) from error
    checked = [
        o
        for o in parsed
        # intervals have no values to check; glob(...) stands for options that there are
        if not o.is_sweep_override() or (o.is_discrete_sweep() and o.value_type is not ValueType.GLOB_CHOICE_SWEEP)
    ]
    values = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_discrete_sweep()
        else [str(o.input_line)]
        for o in checked
    ]
    if empty := next((o for o, own in zip(checked, values, strict=True) if not own), None):
        raise UserError(f"{empty.input_line}: stands for no value, so there is nothing to run.")
    swept = [i for i, own in enumerate(values) if len(own) > 1]
    first = [own[0] for own in values]
    config = _checked(first, swept)
    for i in swept:
        for value in values[i][1:]:
            _checked([*first[:i], value, *first[i + 1 :]], swept)
    return Path(str(config["output_dir"]))


def _checked(job: list[str], swept: list[int]) -> Config:
    """Return the configuration of a job. Raises UserError with the overrides that it has apart from other jobs."""
    config = compose(job)
    if finished(config):
        return config
    from snnhll.check import check_config  # loads torch, of which a sweep that has finished has no need

    try:
        check_config(config)
    except UserError as error:
        raise UserError(f"{' '.join([job[i] for i in swept] or job)}: {error}") from None
    return config
