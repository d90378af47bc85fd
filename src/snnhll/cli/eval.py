"""snnhll eval RUN_DIR [RUN_DIR ...] [KEY=VALUE[,VALUE ...] ...]   evaluate trained runs again, without training

A run is evaluated as it was trained, but for keys of the groups data and noise, the seed of the noise, device and
threads. Several values of a key, separated by commas, are evaluated one after another:

  snnhll eval outputs/RUN noise=gaussian noise.std=0.1,0.2,0.4
  snnhll eval outputs/* noise=salt_pepper data.root=DIR

  --json       print a list of {run_dir, overrides, test_accuracy, layer_test_accuracy, firing_rates}
  --out DIR    write that list (noise.json) and pictures: accuracy against the level of noise, runs overlaid and
               averaged over seeds, and example images at every level, as the first run sees them

  snnhll eval outputs/RUN outputs/OTHER noise=fgsm,pgd noise.epsilon=0,0.05,0.1 --out robustness
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

from snnhll.cli.columns import aligned
from snnhll.cli.flags import is_override, take_apart
from snnhll.config import NOT_IDENTITY, take_own
from snnhll.errors import UserError
from snnhll.results import make_folder, write_atomic

CHANGEABLE = ("data.", "noise.", "noise=", "device=", "threads=", "seed=", "trainer.eval_batch_size=")
OF_TRAINING = ("data.limit", "data.validation", "data.balanced", "data.drop_last", "data.augment")
FLAGS = {"--json": "", "--out": "DIR"}


def main(arguments: list[str]) -> int:
    """Evaluate each run on its test images under each combination of the overrides."""
    words, flags = take_apart("eval", arguments, FLAGS)
    own, words = take_own(words)
    overrides = [w for w in words if is_override(w)]
    runs = _trained([Path(w) for w in words if w not in overrides])
    out = Path(flags["--out"]) if "--out" in flags else None
    if not runs:
        raise UserError("snnhll eval needs the folder of a run, for example snnhll eval outputs/RUN noise=gaussian.")
    for override in overrides:
        _check_changeable(override)
    from snnhll.evaluation import evaluations

    choices = combinations(overrides)
    if out:
        from snnhll.reports.noise_pictures import level_key

        level_key(choices)  # what cannot be drawn shows before the work
        make_folder(out)
    rows = [row for run in runs for row in evaluations(run, choices, own)]
    if out:
        for path in _write(out, rows, runs[0], choices, own):
            print(path, file=sys.stderr)
    print("\n".join(_table(rows)) if "--json" not in flags else json.dumps(rows, indent=2))
    return 0


def _trained(folders: list[Path]) -> list[Path]:
    """Return those folders that hold a trained run; others, which outputs/* names too, are left out, and said to be.

    Where a folder does not exist, or none holds a run, that one alone, so that its evaluation says so before any work.
    """
    others = [folder for folder in folders if not (folder / "checkpoint.pt").exists()]
    if missing := next((folder for folder in others if not folder.exists()), None):
        return [missing]
    if len(others) == len(folders):
        return others[:1]
    for folder in others:
        print(f"snnhll: {folder}: no trained run; left out.", file=sys.stderr)
    return [folder for folder in folders if folder not in others]


def _check_changeable(override: str) -> None:
    """Raise UserError for what an evaluation does not read."""
    key = override.partition("=")[0]
    if key.startswith(OF_TRAINING):
        raise UserError(f"{override}: of training images, which eval does not look at; leave it away.")
    if not override.startswith(CHANGEABLE):
        unread = key in NOT_IDENTITY or key.partition(".")[0] in NOT_IDENTITY
        why = "eval does not read it" if unread else "a run's network is fixed"
        raise UserError(
            f"{override}: {why}; eval changes keys of data and noise, seed, device, threads and "
            f"trainer.eval_batch_size only."
        )


def _write(
    folder: Path, rows: list[dict[str, Any]], first: Path, choices: list[list[str]], own: list[str]
) -> list[Path]:
    """Write rows and pictures into `folder` and return the paths."""
    from snnhll.evaluation import examples
    from snnhll.reports.noise_pictures import accuracy_against_level, examples_of_noise

    write_atomic(folder / "noise.json", json.dumps(rows, indent=2) + "\n")
    pictures = accuracy_against_level(folder, rows)
    return [folder / "noise.json", *pictures, examples_of_noise(folder, examples(first, choices, own), first.name)]


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
