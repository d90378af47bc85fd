"""snnhll -m: every job is a run of its own, and one that fails takes no other with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import TINY, Command, read_result, run_folders

from snnhll.config import compose, run_name


def test_one_failing_job_leaves_the_others_finished(snnhll: Command, tmp_path: Path) -> None:
    broken = tmp_path / "runs" / run_name(compose([*TINY, "loss=sim", "seed=1"]))
    broken.mkdir(parents=True)
    (broken / "checkpoint.pt").write_bytes(b"half a checkpoint")
    answer = snnhll("-m", "loss=pred,sim,pred_sim", "seed=0,1", "data=digits", *TINY, "output_dir=runs")
    assert answer.code == 1
    results = {folder: read_result(folder) for folder in run_folders(tmp_path / "runs")}
    assert len(results) == 6
    failed = results.pop(broken)
    assert failed["status"] == "failed"
    assert "checkpoint.pt is damaged" in failed["error"]
    assert "Traceback" in (broken / "error.txt").read_text()
    assert {result["status"] for result in results.values()} == {"finished"}
    assert sorted((r["loss"], r["seed"]) for r in results.values()) == [
        ("pred", 0),
        ("pred", 1),
        ("pred_sim", 0),
        ("pred_sim", 1),
        ("sim", 0),
    ]
    assert "5 of 6 runs finished" in answer.out
    assert "failed: loss=sim seed=1 data=digits" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_a_job_that_cannot_start_says_so_in_its_folder(snnhll: Command, tmp_path: Path) -> None:
    answer = snnhll("train", *TINY, "output_dir=runs", "-m", "seed=0,1", "architecture.spec=4C3-FCn,4C3-P9-FCn")
    assert answer.code == 1
    results = [read_result(folder) for folder in run_folders(tmp_path / "runs")]
    assert sorted(result["status"] for result in results) == ["failed", "failed", "finished", "finished"]
    errors = {result["error"] for result in results if result["status"] == "failed"}
    assert errors == {
        "architecture.spec: layer 2 (P9) of '4C3-P9-FCn': cannot pool a map of 8x8 by 9; "
        "the image is too small for this net.",
    }


def test_rules_with_and_without_losses_go_into_one_sweep(snnhll: Command, tmp_path: Path) -> None:
    """A single run would refuse a loss that rule=frozen does not read."""
    answer = snnhll("-m", "rule=local,frozen", "loss=pred", *TINY, "output_dir=runs")
    assert answer.code == 0
    results = [read_result(folder) for folder in run_folders(tmp_path / "runs")]
    assert sorted((result["rule"], result["status"]) for result in results) == [
        ("frozen", "finished"),
        ("local", "finished"),
    ]


def test_a_finished_sweep_is_not_repeated(snnhll: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweep = ("-m", "seed=0,1", *TINY, "output_dir=runs")
    assert snnhll(*sweep).code == 0

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("snnhll.experiment.train", refuse)
    answer = snnhll(*sweep)
    assert answer.code == 0
    assert answer.out.count("finished before") == 2
    assert "2 of 2 runs finished" in answer.out
    program = "import sys; sys.modules['torch'] = None; from snnhll.cli.train import main; main(sys.argv[1:])"
    known = subprocess.run([sys.executable, "-c", program, *sweep], capture_output=True, text=True, cwd=tmp_path)
    assert "2 of 2 runs finished" in known.stdout, known.stderr


def test_a_pattern_stands_for_the_options_that_match(snnhll: Command) -> None:
    answer = snnhll("-m", "loss=glob(pred_c*)", *TINY, "output_dir=runs")
    assert answer.code == 0, answer.err
    assert "1 of 1 runs finished" in answer.out


def test_a_pattern_that_nothing_matches_is_told(snnhll: Command) -> None:
    answer = snnhll("-m", "loss=glob(zzz*)", *TINY, "output_dir=runs")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("snnhll: The overrides stand for no run")


def test_a_value_out_of_range_starts_no_job(snnhll: Command, tmp_path: Path) -> None:
    answer = snnhll("-m", "seed=0,1", "trainer.update=accumulate,foo", *TINY, "output_dir=runs")
    assert answer.code == 2
    assert answer.err == (
        "snnhll: seed=0 trainer.update=foo: trainer.update: 'foo' is not an option. "
        "Known: accumulate, final, online, rate.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sweep", ["loss=pred,pred_smi", "lss=pred,sim", "seed=0,[", "experiment=hll_mnist_mlp,hll_mnist"]
)
def test_a_misspelt_sweep_starts_no_job(snnhll: Command, sweep: str, tmp_path: Path) -> None:
    answer = snnhll("-m", sweep, *TINY, "output_dir=runs")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
