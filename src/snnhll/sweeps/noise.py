"""Accuracy of a finished run on disturbed test images, kept beside its result in noise.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnhll.config import Config
from snnhll.results import write_atomic


def noisy_accuracy(run: Path, noise: list[str]) -> float | None:
    """Return the stored test accuracy of `run` under `noise` (overrides of the group noise), a fraction; None when it
    was not measured, or measured before the run was trained again."""
    stored = _stored(run).get(" ".join(noise))
    return None if stored is None else float(stored["test_accuracy"])


def measure_noise(run: Path, noise: list[str], config: Config, own: Sequence[str] = ()) -> float:
    """Evaluate the weights of `run` under `noise`, unless that was done before, and return the test accuracy.

    config: of the job, which says on which device and threads, and where the data lie. own: overrides by which options
    of the user's own are found and trusted.
    """
    known = noisy_accuracy(run, noise)
    if known is not None:
        return known
    from snnhll.evaluation import evaluations

    found = evaluations(run, [[*noise, *_where(config)]], own)[0]
    keep_noise(run, noise, {key: found[key] for key in ("test_accuracy", "layer_test_accuracy", "firing_rates")})
    return float(found["test_accuracy"])


def keep_noise(run: Path, noise: list[str], found: dict[str, Any]) -> None:
    """Write what the present weights of `run` reach under `noise` into its noise.json."""
    entry = {" ".join(noise): found | {"of": _training(run)}}
    write_atomic(_file(run), json.dumps(_stored(run) | entry, indent=2) + "\n")


def _where(config: Config) -> list[str]:
    """Return the overrides by which an evaluation takes place where the training of `config` did."""
    threads = [] if config["threads"] is None else [f"threads={config['threads']}"]
    return [f"device={config['device']}", *threads, f"data.root={json.dumps(config['data']['root'])}"]


def _file(run: Path) -> Path:
    return run / "noise.json"


def _stored(run: Path) -> dict[str, Any]:
    """Return what noise.json holds of the present weights."""
    try:
        of, stored = _training(run), json.loads(_file(run).read_text())
    except (OSError, ValueError):
        return {}
    return {noise: entry for noise, entry in stored.items() if entry.get("of") == of}


def _training(run: Path) -> str:
    """Return what tells the training that `run` holds from any other: a hash of its result, which has its duration."""
    return hashlib.sha256((run / "result.json").read_bytes()).hexdigest()[:12]
