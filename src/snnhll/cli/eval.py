"""snnhll eval RUN_DIR [RUN_DIR ...] [KEY=VALUE[,VALUE ...] ...]   evaluate trained runs again, without training

A run is evaluated as it was trained, but for keys of the groups data and noise, the seed of the noise, and the
device. Several values of a key, separated by commas, are evaluated one after another:

  snnhll eval outputs/RUN noise=gaussian noise.std=0.1,0.2,0.4
  snnhll eval outputs/* noise=salt_pepper data.root=DIR

  --json    print a list of {run_dir, overrides, test_accuracy, layer_test_accuracy, firing_rates}
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from snnhll.cli.columns import aligned
from snnhll.errors import UserError

CHANGEABLE = ("data.", "noise.", "noise=", "device=", "seed=", "trainer.eval_batch_size=")


def main(arguments: list[str]) -> int:
    """Evaluate each run on its test images under each combination of the overrides."""
    overrides = [a for a in arguments if "=" in a]
    flags = [a for a in arguments if a.startswith("-")]
    runs = [Path(a) for a in arguments if "=" not in a and not a.startswith("-")]
    if unknown := next((flag for flag in flags if flag != "--json"), None):
        raise UserError(f"{unknown}: no such flag; snnhll eval knows --json.")
    if not runs:
        raise UserError("snnhll eval needs the folder of a run, for example snnhll eval outputs/RUN noise=gaussian.")
    for override in overrides:
        if not override.startswith(CHANGEABLE):
            raise UserError(f"{override}: a run's network is fixed; eval changes keys of data and noise only.")
    from snnhll.evaluation import evaluations

    rows = [row for run in runs for row in evaluations(run, combinations(overrides))]
    print("\n".join(_table(rows)) if "--json" not in flags else json.dumps(rows, indent=2))
    return 0


def combinations(overrides: list[str]) -> list[list[str]]:
    """Return every combination of comma-separated values: ["a=1,2", "b=3"] gives [a=1, b=3] and [a=2, b=3]."""
    pairs = [override.partition("=") for override in overrides]
    choices = [[f"{key}={value}" for value in values.split(",")] for key, _, values in pairs]
    return [list(choice) for choice in itertools.product(*choices)]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    heading = ("run", "overrides", "test accuracy", "firing rates")
    cells = [
        (
            Path(row["run_dir"]).name,
            " ".join(row["overrides"]),
            f"{row['test_accuracy']:.2%}",
            " ".join(f"{rate:.3f}" for rate in row["firing_rates"]),
        )
        for row in rows
    ]
    return aligned([heading, *cells])
