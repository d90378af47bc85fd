"""snnhll eval RUN_DIR [RUN_DIR ...] [KEY=VALUE[,VALUE ...] ...]   evaluate finished runs again, without training

Keys of the groups data and noise may be changed, comma-separated for several at once:

  snnhll eval outputs/RUN noise=gaussian noise.std=0.1,0.2,0.4
  snnhll eval outputs/* noise=salt_pepper data.root=DIR

  --json    print a list of {run_dir, overrides, test_accuracy, layer_test_accuracy, firing_rates}
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from snnhll.config import Config, compose, settings
from snnhll.errors import UserError
from snnhll.results import RunFolder

CHANGEABLE = ("data.", "noise", "device=", "seed=", "trainer.eval_batch_size=")


def main(arguments: list[str]) -> int:
    """Evaluate each run on its test images under each combination of the overrides."""
    overrides = [a for a in arguments if "=" in a]
    runs = [Path(a) for a in arguments if "=" not in a and not a.startswith("--")]
    if not runs:
        raise UserError("snnhll eval needs the folder of a run, for example snnhll eval outputs/RUN noise=gaussian.")
    for override in overrides:
        if not override.startswith(CHANGEABLE):
            raise UserError(f"{override}: a finished run's network is fixed; eval changes keys of data and noise only.")
    rows = [_evaluate(run, list(choice)) for run in runs for choice in combinations(overrides)]
    if "--json" in arguments:
        print(json.dumps(rows, indent=2))
    else:
        _print(rows)
    return 0


def combinations(overrides: list[str]) -> list[tuple[str, ...]]:
    """Return every combination of comma-separated values: ["a=1,2", "b=3"] gives (a=1, b=3) and (a=2, b=3)."""
    pairs = [override.partition("=") for override in overrides]
    return list(itertools.product(*([f"{key}={value}" for value in values.split(",")] for key, _, values in pairs)))


def _evaluate(run: Path, overrides: list[str]) -> dict[str, Any]:
    from snnhll.assemble import load_rule, option
    from snnhll.data import open_data
    from snnhll.metrics import evaluate

    device = next((o.partition("=")[2] for o in overrides if o.startswith("device=")), "auto")
    rule, _ = load_rule(run, device)
    config = with_overrides(run, overrides)
    chosen = settings(config)
    noise = option(config, "noise", chosen.trust)
    place = rule.network.mean.device
    data = open_data(config["data"], batch_size=chosen.trainer.batch_size, seed=chosen.seed, device=place)
    batches = data.eval_batches("test", chosen.trainer.eval_batch_size, noise, chosen.seed)
    found = evaluate(rule, batches, len(data.classes))
    return {
        "run_dir": str(run),
        "overrides": overrides,
        "test_accuracy": found.accuracy,
        "layer_test_accuracy": found.layer_accuracy,
        "firing_rates": found.rates,
    }


def with_overrides(run: Path, overrides: list[str]) -> Config:
    """Return a run's configuration composed anew with `overrides` in place of what it was trained with.

    Keys of a group are dropped with the group's option: noise=gaussian starts from that option's own defaults.
    """
    result = RunFolder(run).result()
    if result is None:
        raise UserError(f"{run}: no readable result.json; is this the folder of a run?")
    keys = {override.partition("=")[0] for override in overrides}
    kept = [o for o in result.overrides if not any(replaces(key, o.partition("=")[0]) for key in keys)]
    return compose([*kept, *overrides])


def replaces(new: str, old: str) -> bool:
    """Return whether an override of `new` makes one of `old` void: the same key, or a key of the same group."""
    return old == new or old.startswith(f"{new}.")


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "overrides", "test accuracy", "firing rates"):
        table.add_column(heading)
    for row in rows:
        rates = " ".join(f"{rate:.3f}" for rate in row["firing_rates"])
        name = Path(row["run_dir"]).name
        table.add_row(name, " ".join(row["overrides"]), f"{row['test_accuracy']:.2%}", rates)
    Console(highlight=False).print(table)
