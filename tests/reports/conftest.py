"""Run folders as a sweep leaves them, written without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from snnhll.reports import style
from snnhll.results import Result, RunFolder
from snnhll.sweeps import definition
from snnhll.sweeps.jobs import Job, Plan, plan
from snnhll.sweeps.noise import keep_noise

SWEEP = """
title: "Three losses & 100 % of _what_ was printed"
data: digits
seeds: 3
rows:
  - {name: pred, overrides: [loss=pred], published: 90.0, reference: "A & B 2020", about: {network: MLP, T: 10}}
  - {name: sim, overrides: [loss=sim], published: 80.5}
  - {name: contrast, overrides: [loss=contrast]}
  - {name: quoted, published: 95.25, reference: C 2021}
"""

Finish = Callable[..., Path]


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The sweep below, composed once for all tests."""
    file = tmp_path_factory.mktemp("sweep") / "study.yaml"
    file.write_text(SWEEP)
    return plan(definition.read(str(file)), ["tracking=none", "trainer.epochs=3"])


@pytest.fixture
def sweep(composed: Plan, tmp_path: Path) -> Plan:
    """A sweep of three losses over three seeds and one quoted row; nothing of it has run."""
    out = str(tmp_path / "out")
    jobs = [replace(job, config=job.config | {"output_dir": out}) for job in composed.jobs]
    return replace(composed, overrides=[*composed.overrides, f"output_dir={out}"], jobs=jobs)


@pytest.fixture
def finish() -> Finish:
    """A function that writes the folder of a job as if it had ended: accuracies as fractions."""

    def write(
        job: Job, accuracy: float | None, status: str = "finished", noisy: float | None = None, **more: Any
    ) -> Path:
        path = job.folder.path
        folder = RunFolder.create(path)
        config = job.config
        OmegaConf.save(OmegaConf.create(config), path / "config.yaml")
        fields = {
            "test_accuracy": accuracy,
            "test_accuracy_best_val": None if accuracy is None else accuracy + 0.01,
            "layer_test_accuracy": [0.5, 0.6, accuracy],
            "firing_rates": [0.1, 0.2],
            "wall_seconds": 100.0 + job.seed,
            "peak_memory_bytes": 2**20 * (200 + job.seed),
            "synaptic_operations_per_image": 1e5,
            "energy_nj_per_image": 90.0 + job.seed,
            "commit": "0123456789ab",
        }
        result = Result(
            status=status,  # type: ignore[arg-type]
            config_hash="",
            overrides=job.overrides,
            data=config["data"]["name"],
            architecture=config["architecture"]["name"],
            rule=config["rule"]["name"],
            loss=config["loss"]["name"],
            seed=job.seed,
            epochs=3,
            run_dir=str(path),
            **(fields | more),  # type: ignore[arg-type]
        )
        folder.write_result(result)
        for epoch in range(3):
            value = None if accuracy is None else accuracy - 0.1 * (2 - epoch)
            folder.append_metrics({"epoch": epoch, "val_accuracy": value, "train_accuracy": value})
        (path / "checkpoint.pt").touch()
        if noisy is not None:
            keep_noise(path, job.row.noise, {"test_accuracy": noisy})
        return path

    return write


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved; written all the same, so that what cannot be drawn fails."""
    figures: list[Figure] = []
    save = style.save
    monkeypatch.setattr(style, "save", lambda figure, path: (figures.append(figure), save(figure, path))[1])
    return figures
