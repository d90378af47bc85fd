"""`results/gpu/run` at toy size on the CPU, in pieces, without Hydra: what it trains, keeps, continues and writes."""

from __future__ import annotations

import csv
import json
import runpy
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from snnhll.config import compose, run_name
from snnhll.frozen import HERE, thaw

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "results/gpu/run"
STUDY = runpy.run_path(str(SCRIPT), run_name="study")


def test_the_kept_configurations_are_those_of_today() -> None:
    """When this fails: results/gpu/run --compose."""
    today = {"-".join(study): compose([*STUDY["overrides"](study), *HERE]) for study in STUDY["studies"]()}
    assert thaw(SCRIPT.parent / "configs.json") == json.loads(json.dumps(today))


def test_local_and_bptt_differ_in_nothing_but_the_learner() -> None:
    kept = thaw(SCRIPT.parent / "configs.json")
    for data in STUDY["SETS"]:
        for network in STUDY["NETWORKS"]:
            local, bptt = (kept[f"{data}-{network}-{learner}"] for learner in ("local", "bptt"))
            different = {key for key in local if local[key] != bptt[key]}
            assert different == {"rule", "trainer"}
            assert local["trainer"] | {"update": bptt["trainer"]["update"]} == bptt["trainer"]


def test_the_published_figures_are_those_of_the_tables() -> None:
    tables = yaml.safe_load((REPOSITORY / "src/snnhll/published.yaml").read_text())
    printed = {
        (table["data"], row["network"]): row["accuracy"]
        for table in (tables["table_3_3"], tables["table_3_4"])
        for row in table["rows"]
        if row["rule"] == "SNN-HLL pred_sim"
    }
    names = {"vgg8": "VGG8", "vgg8_2x": "VGG8 2x"}
    assert {(data, names[network]): x for (data, network), x in STUDY["PUBLISHED"].items()} == printed


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two sets of noise: Fashion-MNIST's files with 60 and 10 pictures, CIFAR-10 as JPEG with 60 and 10."""
    root = tmp_path / "sets"
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 10)):
        pixels = bytes(i * 7 % 251 for i in range(count * 28 * 28))
        labels = bytes(i % 10 for i in range(count))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)
    for part, count in (("train", 6), ("test", 1)):
        for label in range(10):
            folder = root / "cifar10-jpeg" / part / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (25 * label, 40 * i, 100)).save(folder / f"{i}.jpg")
    return root


def test_continues_in_pieces_until_everything_is_trained(tmp_path: Path, sets: Path, bare_python: list[str]) -> None:
    out = tmp_path / "out"
    words = [*bare_python, str(SCRIPT), "--data", str(sets), "--out", str(out), "--device", "cpu", "--toy"]

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more], capture_output=True, text=True, check=False)

    first = call("--minutes", "0")
    assert first.returncode == 3, first.stderr
    assert "the same command continues" in first.stdout
    (begun,) = out.glob("*/metrics.jsonl")
    assert begun.read_text().count("\n") == 1
    plan = json.loads((out / "plan.json").read_text())
    assert set(plan.values()) == {2}  # six hours hold more than the two epochs of --toy
    last = call("--minutes", "5")
    assert last.returncode == 0, last.stderr
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert [(row["network"], row["learner"]) for row in rows] == [(n, x) for _, n, x in STUDY["studies"]()]
    assert {row["data"] for row in rows} == {"fashion_mnist", "CIFAR-10 (JPEG)"}
    assert begun.read_text().count("\n") == 2
    for row in rows:
        result: dict[str, Any] = json.loads((out / row["run"] / "result.json").read_text())
        assert result["status"] == "finished"
        assert 100 * result["test_accuracy"] == pytest.approx(float(row["test accuracy %"]), abs=0.01)


def test_a_missing_gpu_or_set_is_one_line(tmp_path: Path, bare_python: list[str]) -> None:
    words = [*bare_python, str(SCRIPT), "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "FashionMNIST" in done.stderr or "fashion_mnist" in done.stderr


def test_a_study_is_the_run_that_its_overrides_name() -> None:
    """The same run folder as the command line would make, so that either may continue the other's work."""
    study = ("cifar10", "vgg8", "local")
    config = thaw(SCRIPT.parent / "configs.json")["-".join(study)]
    assert run_name(config) == run_name(compose(STUDY["overrides"](study)))
