"""`snnhll train data=image_stream` from a folder of images to a result that says whether loading held it up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runs import Command, only_run, read_metrics, read_result, repeatable
from PIL import Image

STREAM = (
    "data=image_stream",
    "data.root=set",
    "data.size=16",
    "architecture.spec=8C3s2-P2-FC16-FCn",
    "trainer.steps=4",
    "trainer.epochs=4",
    "trainer.batch_size=8",
    "optimizer.lr=0.01",
    "tracking=none",
    "threads=1",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes, each of a colour, in images of several sizes."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 4)):
        for channel, name in enumerate(("red", "green", "blue")):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 100, (24 + number, 40 - number, 3), dtype=np.uint8)
                pixels[:, :, channel] += 120
                Image.fromarray(pixels).save(tmp_path / "set" / part / name / f"{number}.jpg")
    return tmp_path


def test_a_run_learns_and_repeats_whatever_the_workers(snnhll: Command, folder: Path) -> None:
    for workers in (0, 2):
        answer = snnhll("train", *STREAM, f"data.workers={workers}", f"output_dir=runs{workers}")
        assert (answer.code, answer.err) == (0, "")
        assert "of the time waiting for images" in answer.out
    alone, helped = (only_run(folder / f"runs{workers}") for workers in (0, 2))
    assert alone.name == helped.name
    assert repeatable(read_result(alone)) == repeatable(read_result(helped))
    assert list(map(repeatable, read_metrics(alone))) == list(map(repeatable, read_metrics(helped)))
    result, shares = read_result(helped), [row["loading_share"] for row in read_metrics(helped)]
    assert result["test_accuracy"] > 0.9
    assert 0 < result["loading_share"] == shares[-1] < 1
    assert ("loading holds the steps up" in answer.out) == (max(shares) > 0.1)


def test_a_damaged_image_gets_one_line(snnhll: Command, folder: Path) -> None:
    damaged = folder / "set" / "train" / "red" / "3.jpg"
    damaged.write_bytes(damaged.read_bytes()[:100])
    answer = snnhll("train", *STREAM, "data.workers=2", "output_dir=runs")
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("snnhll: cannot read set/train/red/3.jpg as an image")
    assert not (folder / "runs").exists()


def test_a_folder_that_is_no_set_gets_one_line(snnhll: Command, folder: Path) -> None:
    for file in (folder / "set" / "train" / "blue").iterdir():
        file.unlink()
    answer = snnhll("train", *STREAM)
    assert answer.code == 2
    assert answer.err.startswith("snnhll: data=image_stream: set/train/blue contains no images")
