"""A residual network of both kinds of blocks learns colour images of CIFAR's size, from a folder, by two rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runs import Command, only_run, read_result
from PIL import Image

RUN = (
    "data=image_folder",
    "data.root=set",
    "data.validation=0",
    "architecture.spec=8C3-8SEW3-P2-16C3-16MS3-P4-FC32-FCn",
    "architecture.dropout=0",
    "trainer.steps=4",
    "trainer.epochs=20",
    "trainer.batch_size=8",
    "optimizer.lr=0.005",
    "output_dir=runs",
    "tracking=none",
    "threads=1",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 32x32: stripes across, stripes down, chequerboards, of random colour and phase, in noise."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] // 4
    for part, count in (("train", 16), ("test", 8)):
        for name, pattern in (("across", y), ("down", x), ("board", x + y)):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for number in range(count):
                stripes = ((pattern + draw.integers(2)) % 2)[..., None] * draw.integers(90, 200, 3)
                pixels = (stripes + draw.integers(0, 56, (32, 32, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / part / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("rule", ["rule=local loss=pred_sim", "rule=bptt"])
def test_a_residual_network_learns(snnhll: Command, rule: str, folder: Path) -> None:
    answer = snnhll("train", *RUN, *rule.split())
    assert (answer.code, answer.err) == (0, "")
    result = read_result(only_run(folder / "runs"))
    assert result["test_accuracy"] > 0.75  # chance is 1/3
    assert len(result["firing_rates"]) == 5
