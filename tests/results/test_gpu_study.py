"""`results/gpu/run` at toy size on the CPU, in pieces, without Hydra: what it trains, keeps, continues and writes."""

from __future__ import annotations

import argparse
import csv
import json
import runpy
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from snnhll.config import Config, compose, run_name
from snnhll.frozen import HERE, thaw
from snnhll.results import Result, RunFolder, run_path

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
    tables = yaml.safe_load((REPOSITORY / "tests/published.yaml").read_text())
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
    plan = json.loads((out / "plan-toy.json").read_text())
    assert set(plan["epochs"].values()) == {2}  # six hours hold more than the two epochs of --toy
    assert not (out / "plan.json").exists()  # which would keep what is trained in earnest to these epochs
    last = call("--minutes", "60")
    assert last.returncode == 0, last.stderr
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert [(row["network"], row["learner"]) for row in rows] == [(n, x) for _, n, x in STUDY["studies"]()]
    assert {row["data"] for row in rows} == {"fashion_mnist", "CIFAR-10 (JPEG)"}
    assert begun.read_text().count("\n") == 2
    for row in rows:
        result: dict[str, Any] = json.loads((out / row["run"] / "result.json").read_text())
        assert result["status"] == "finished"
        assert 100 * result["test_accuracy"] == pytest.approx(float(row["test accuracy %"]), abs=0.01)


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """A command line, and a plan by which an epoch of anything takes a minute."""
    seconds = {"-".join(study): 60.0 for study in STUDY["studies"]()}
    epochs = {"-".join(study[:2]): 3 for study in STUDY["studies"]()}
    (tmp_path / "plan.json").write_text(json.dumps({"epochs": epochs, "seconds": seconds}))
    return argparse.Namespace(data=tmp_path, out=tmp_path, device="cpu", toy=False, cuda_graphs=False)


def _run_by(monkeypatch: pytest.MonkeyPatch, does: Callable[[str], None]) -> list[str]:
    """Let studies be trained by `does`; return the list that their names go to."""
    begun: list[str] = []

    def run(config: Config, overrides: list[str], display: Any, keep_failure: bool = False) -> None:
        begun.append(display.name)
        with RunFolder.create(run_path(config)).recording(Result(**BLANK, run_dir="", epochs=3)):  # type: ignore[arg-type]
            does(display.name)

    monkeypatch.setitem(STUDY["train"].__globals__, "run", run)
    return begun


BLANK = {"status": "running", "config_hash": "", "overrides": [], "seed": 0} | dict.fromkeys(
    ("data", "architecture", "rule", "loss"), ""
)


def test_a_study_that_fails_stops_no_other_and_is_tried_again_last(
    chosen: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [" ".join(study) for study in STUDY["studies"]()]

    def does(name: str) -> None:
        if name == names[1]:
            raise RuntimeError("out of\nmemory")

    begun = _run_by(monkeypatch, does)
    for _ in range(2):
        assert STUDY["train"](chosen, time.monotonic() + 3600) == 1
    assert begun == [*names, names[0], *names[2:], names[1]]
    assert capsys.readouterr().err == 2 * f"{names[1]} failed: out of memory\n"


def test_no_study_begins_that_has_no_time_for_an_epoch(
    chosen: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [" ".join(study) for study in STUDY["studies"]()]
    begun = _run_by(monkeypatch, lambda name: None)
    for minutes in (0.0, 1.4):  # the first of a call has an epoch in any case
        assert STUDY["train"](chosen, time.monotonic() + 60 * minutes) == 3
    assert begun == 2 * names[:1]


def test_a_call_that_is_killed_has_lost_minutes(chosen: argparse.Namespace) -> None:
    config = STUDY["configuration"](STUDY["studies"]()[0], chosen)
    assert config["trainer"]["checkpoint_minutes"] <= 2


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
