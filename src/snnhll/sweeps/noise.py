"""Accuracy of a finished run on disturbed test images, kept beside its result in noise.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnhll.results import write_atomic


def noisy_accuracy(run: Path, noise: list[str]) -> float | None:
    """Return the stored test accuracy of `run` under `noise` (overrides of the group noise), a fraction; None when it
    was not measured, or measured before the run was trained again."""
    stored = _stored(run).get(" ".join(noise))
    return None if stored is None else float(stored["test_accuracy"])


def measure_noise(run: Path, noise: list[str], own: Sequence[str] = ()) -> float:
    """Evaluate the weights of `run` under `noise`, unless that was done before, and return the test accuracy.

    own: overrides by which options of the user's own are found and trusted.
    """
    known = noisy_accuracy(run, noise)
    if known is not None:
        return known
    from snnhll.evaluation import evaluations

    found = evaluations(run, [noise], own)[0]
    kept = {key: found[key] for key in ("test_accuracy", "layer_test_accuracy", "firing_rates")}
    write_atomic(_file(run), json.dumps(_stored(run) | {" ".join(noise): kept}, indent=2) + "\n")
    return float(found["test_accuracy"])


def _file(run: Path) -> Path:
    return run / "noise.json"


def _stored(run: Path) -> dict[str, Any]:
    """Return what noise.json holds, unless the weights are younger than it."""
    try:
        if _file(run).stat().st_mtime_ns < (run / "checkpoint.pt").stat().st_mtime_ns:
            return {}
        stored: dict[str, Any] = json.loads(_file(run).read_text())
        return stored
    except (OSError, ValueError):
        return {}
