"""How long the rest of a sweep will take: from runs of the same row, from the speed of runs of the same network, or,
where nothing has run yet, from the time of one training step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from snnhll.config import Config, Settings, identity, settings
from snnhll.errors import UserError
from snnhll.sweeps.jobs import Job, unique

# Training images and their shape, for an estimate before a set is opened (or downloaded).
SETS: dict[str, tuple[int, int, tuple[int, int, int]]] = {  # images, classes, (C, H, W)
    "digits": (1437, 10, (1, 8, 8)),
    "mnist": (60000, 10, (1, 28, 28)),
    "fashion_mnist": (60000, 10, (1, 28, 28)),
    "cifar10": (50000, 10, (3, 32, 32)),
    "cifar100": (50000, 100, (3, 32, 32)),
}
EVALUATION = 1.15  # training plus validation and test, as a share of training
PICTURES = 3.0  # seconds that opening the data and drawing take, however short the training
PROBE_IMAGES = 4  # of the first step, which tells whether a whole batch is affordable
PROBE_SECONDS = 0.5

Speed = Callable[[Config], float | None]


def seconds_left(jobs: Sequence[Job], speed: Speed | None = None) -> list[float | None]:
    """Return the seconds each job still needs; None where nothing tells. A run that jobs share counts for the first.

    speed: measures the training images a second of a configuration, for networks that never ran.
    """
    seen = _Seen(jobs)
    counted: set[Path] = set()
    left: list[float | None] = []
    for job in jobs:
        left.append(0.0 if job.folder.path in counted else _left(job, seen, speed))
        counted.add(job.folder.path)
    return left


def _left(job: Job, seen: _Seen, speed: Speed | None) -> float | None:
    result = job.folder.result()
    finished = result is not None and result.status == "finished"
    if finished and not job.config["force"]:
        return 0.0
    alike = seen.seconds.get(_setting(job.config))
    whole = fmean(alike) if alike else None
    if whole is None:
        whole = seconds_at(job.config, seen.speed(job.config, speed))
    done = 0.0 if finished else len(job.folder.metrics()) / job.config["trainer"]["epochs"]
    return None if whole is None else whole * max(0.0, 1 - done)


def seconds_at(config: Config, speed: float | None) -> float | None:
    """Return the seconds of a whole run at `speed` training images a second; None for sets of unknown size."""
    images = training_images(config)
    if speed is None or images is None:
        return None
    return PICTURES + EVALUATION * config["trainer"]["epochs"] * images / speed


def training_images(config: Config) -> float | None:
    """Return how many images an epoch of `config` has, None for sets of unknown size."""
    data = config["data"]
    if data["name"] not in SETS:
        return None
    images, classes, _ = SETS[data["name"]]
    limited = images if data["limit"] is None else min(images, data["limit"] * classes)
    return limited * (1 - float(data["validation"]))


class _Seen:
    """What the runs of a sweep tell of time: seconds of finished ones by setting, images a second by network."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.speeds: dict[str, list[float]] = {}
        for job in unique(jobs):
            result = job.folder.result()
            if result is not None and result.status == "finished" and result.wall_seconds:
                self.seconds.setdefault(_setting(job.config), []).append(result.wall_seconds)
            if rows := job.folder.metrics():
                self.speeds.setdefault(_kind(job.config), []).append(rows[-1]["samples_per_second"])

    def speed(self, config: Config, measure: Speed | None) -> float | None:
        kind = _kind(config)
        if kind not in self.speeds and measure is not None:
            measured = measure(config)
            if measured is not None:
                self.speeds[kind] = [measured]
        return fmean(self.speeds[kind]) if kind in self.speeds else None


def _setting(config: Config) -> str:
    """Return what the runs of a row share: everything but the seed."""
    return identity(config | {"seed": 0})


def _kind(config: Config) -> str:
    """Return what the speed of a run hangs on: everything but data, seed and the number of epochs."""
    trainer = {key: value for key, value in config["trainer"].items() if key not in ("epochs", "checkpoint_minutes")}
    parts: dict[str, Any] = {
        key: config[key] for key in ("architecture", "neuron", "encoding", "loss", "rule", "device", "threads")
    }
    shape = SETS[config["data"]["name"]][2] if config["data"]["name"] in SETS else config["data"]["name"]
    return json.dumps(parts | {"trainer": trainer, "shape": shape}, sort_keys=True)


def measured_speed(config: Config) -> float | None:
    """Train a few steps on random images and return the images a second.

    None for sets of unknown shape, and for networks that cannot be built: the run itself will say why.
    """
    if config["data"]["name"] not in SETS:
        return None
    from snnhll import threads

    try:
        chosen = settings(config)
        with threads.using(chosen.threads):
            return _measured_speed(config, chosen)
    except UserError:
        return None


def _measured_speed(config: Config, chosen: Settings) -> float:
    import torch

    from snnhll.assemble import Problem, build_rule, pick_device

    _, classes, shape = SETS[config["data"]["name"]]
    device = pick_device(chosen.device)
    rule = build_rule(config, chosen, Problem(shape, classes, [0.5] * shape[0], [0.5] * shape[0])).to(device)

    def step(images: int) -> float:
        labels = torch.arange(images, device=device) % classes
        began = time.perf_counter()
        rule.step(torch.rand(images, *shape, device=device), labels)["correct"].item()
        return time.perf_counter() - began

    step(PROBE_IMAGES)  # compiles and warms up
    few = step(PROBE_IMAGES)
    if few > PROBE_SECONDS:
        return PROBE_IMAGES / few
    step(chosen.trainer.batch_size)
    return chosen.trainer.batch_size / min(step(chosen.trainer.batch_size) for _ in range(2))


def spoken(seconds: float | None) -> str:
    """Return a duration in the unit a reader would choose: 40 s, 12 min, 3.5 h, 2.1 days."""
    if seconds is None:
        return "unknown"
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if unit == 3600 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.1f} days"
