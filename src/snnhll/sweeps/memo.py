"""The overrides a sweep was last run with, so that its report needs no repeating of them."""

from __future__ import annotations

import json
from pathlib import Path

from snnhll.results import write_atomic
from snnhll.sweeps.definition import Sweep
from snnhll.sweeps.jobs import Plan


def remember(plan: Plan) -> None:
    """Keep the overrides of `plan` beside its runs."""
    path = _file(Path(str(plan.jobs[0].config["output_dir"])), plan.sweep)
    path.parent.mkdir(parents=True, exist_ok=True)
    note = {"file": str(plan.sweep.path.resolve()), "overrides": plan.overrides}
    write_atomic(path, json.dumps(note, indent=2) + "\n")


def recall(output_dir: Path, sweep: Sweep) -> list[str]:
    """Return the overrides that `sweep` was last run with in `output_dir`; none where it never was."""
    try:
        note = json.loads(_file(output_dir, sweep).read_text())
    except (OSError, ValueError):
        return []
    return [*note["overrides"]] if note["file"] == str(sweep.path.resolve()) else []


def _file(output_dir: Path, sweep: Sweep) -> Path:
    return output_dir / ".sweeps" / f"{sweep.name}.json"
