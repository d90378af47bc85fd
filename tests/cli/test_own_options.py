"""Options of the user's own, in a folder outside the package: every command that composes finds them."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from cli_runs import TINY, Command, Finished, in_own_process, only_run, read_metrics, read_result

OWN = ("--config-dir", "my_conf")
TRUSTED = (*OWN, "trust=[my_module]")
SMALL = (*TINY, "seed=0", "output_dir=runs")

MODULE = """
from snnhll.data.noise.gaussian import GaussianNoise
from snnhll.losses.prediction import PredictionLoss

class MyLoss(PredictionLoss):
    pass

class MyNoise(GaussianNoise):
    pass
"""
LOSS = """# snnhll train loss=mine   prediction, once more
defaults: [pred, _self_]
name: mine
terms: {mine: {_target_: my_module.MyLoss}}
weights: {mine: 1.0}
"""
NOISE = "name: mine\n_target_: my_module.MyNoise\nstd: 0.3\nwhen: test\nclip: true\n"
SWEEP = """
metric: accuracy_drop
rows: [{name: a row, overrides: [loss=mine], noise: [noise=mine]}]
"""


@pytest.fixture(autouse=True)
def own_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A loss, a noise, a rule and a set of one's own, and a sweep of them."""
    (tmp_path / "my_module.py").write_text(MODULE)
    files = {"loss": LOSS, "noise": NOISE, "rule": "defaults: [dfa, _self_]\nname: mine\n"}
    for group, text in (files | {"data": "defaults: [digits, _self_]\nname: mine\n"}).items():
        (tmp_path / "my_conf" / group).mkdir(parents=True)
        (tmp_path / "my_conf" / group / "mine.yaml").write_text(text)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_run_as_the_documents_describe_it(snnhll: Command, tmp_path: Path) -> None:
    command = ["train", *OWN, "loss=mine", *TINY, "output_dir=runs"]
    refused = snnhll(*command)
    assert refused.code == 2
    assert "'my_module.MyLoss' is not trusted code" in refused.err
    assert not (tmp_path / "runs").exists()
    assert snnhll(*command, "trust=[my_module]").code == 0
    folder = only_run(tmp_path / "runs")
    assert read_result(folder)["loss"] == "mine"
    assert "layer1/mine" in read_metrics(folder)[0]["losses"]
    assert snnhll("eval", str(folder)).code == 0


SHOWN = {
    "show loss=mine": "name: mine",
    "ls loss": "  mine               prediction, once more\n",
    "data mine": "digits: 1438 training",
    "plot neuron=lif loss=mine": "outputs/plots/lif.png",
    "sweep mine.yaml --dry-run": "a row  0     waiting",
    "report mine.yaml": "0/3 seeds",
    "audit rule=mine --no-accuracy": "mine",
    "validate loss noise mine.yaml": "1 sweep checked, all valid",
}


@pytest.mark.parametrize("command", list(SHOWN))
def test_every_command_finds_them(snnhll: Command, command: str) -> None:
    name, *rest = command.split()
    answer = snnhll(name, *TRUSTED, *rest)
    assert (answer.code, answer.err) == (0, "")
    assert SHOWN[command] in answer.out


@pytest.mark.parametrize("launcher", [[], ["launcher=joblib"]])
def test_a_sweep_runs_with_them_and_its_report_remembers(snnhll: Command, launcher: list[str], tmp_path: Path) -> None:
    if launcher:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = in_own_process(["sweep", "mine.yaml", *TRUSTED, *SMALL, *launcher], tmp_path, PYTHONPATH=_path(tmp_path))
    assert done.code == 0, done.err
    assert "1 of 1 jobs finished" in done.out
    (row,) = json.loads(snnhll("report", "mine.yaml", "output_dir=runs", "--format", "json").out)["rows"]
    assert row["n"] == 1


def test_noise_of_ones_own_on_a_run_without(snnhll: Command, finished: Finished) -> None:
    given = snnhll("eval", str(finished.folder), *TRUSTED, "noise=mine", "noise.std=0,0.4", "--json")
    shipped = snnhll("eval", str(finished.folder), "noise=gaussian", "noise.std=0,0.4", "--json")
    accuracies = [[row["test_accuracy"] for row in json.loads(answer.out)] for answer in (given, shipped)]
    assert accuracies[0] == accuracies[1]
    assert [row["overrides"] for row in json.loads(given.out)][1] == ["noise=mine", "noise.std=0.4"]


def test_two_folders(snnhll: Command, tmp_path: Path) -> None:
    (tmp_path / "more" / "noise").mkdir(parents=True)
    (tmp_path / "more" / "noise" / "other.yaml").write_text("defaults: [blur, _self_]\nname: other\n")
    answer = snnhll("show", *OWN, "-cd=more", "noise=other", "loss=mine")
    assert answer.code == 0
    assert "name: other" in answer.out


MISTAKES = {
    "show --config-dir nowhere": "--config-dir nowhere: no such folder.",
    "sweep mine.yaml --config-dir": "--config-dir: expected DIR after it.",
    "show --config-dir my_conf loss=mien": "loss=mien: no such option. Did you mean 'mine'?",
    "audit -cd my_conf rule=mien": "rule=mien: no such option. Did you mean 'mine'?",
    "ls hydra.searchpath=3": "hydra.searchpath=3: expected a list, as in hydra.searchpath=[file:///home/me/my_conf].",
    "export runs --config-dir my_conf": "--config-dir: no such flag; snnhll export knows --to FORMAT and --out FILE.",
}


@pytest.mark.parametrize("command", list(MISTAKES))
def test_mistakes_are_one_line(snnhll: Command, command: str) -> None:
    answer = snnhll(*shlex.split(command))
    assert (answer.code, answer.err) == (2, f"snnhll: {MISTAKES[command]}\n")


def _path(folder: Path) -> str:
    """PYTHONPATH with `folder` before what it is here."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def test_a_data_set_of_your_own(snnhll: Command, tmp_path: Path) -> None:
    (tmp_path / "my_data.py").write_text(
        "from dataclasses import replace\nfrom snnhll.data import digits\n"
        "def load():\n    return replace(digits.load(), name='ours')\n"
    )
    (tmp_path / "my_conf" / "data" / "ours.yaml").write_text("defaults: [digits]\nname: ours\n_target_: my_data.load\n")
    command = ["train", "--config-dir", "my_conf", "data=ours", *TINY, "output_dir=runs"]
    assert "'my_data.load' is not trusted code" in snnhll(*command).err
    assert snnhll(*command, "trust=[my_data]").code == 0
    folder = only_run(tmp_path / "runs")
    assert read_result(folder)["data"] == "ours"
    assert snnhll("eval", str(folder)).code == 0
