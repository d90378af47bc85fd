"""The commands that look: help, version, ls, show, validate, data, eval."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from cli_runs import PROGRAM, TINY, Command, Finished, only_run, read_result

from snnhll.cli.commands import COMMANDS
from snnhll.config import conf_dir, groups, options
from snnhll.version import __version__

HEAVY = ["torch", "numpy", "hydra", "omegaconf", "rich", "wandb", "numba"]


QUICK = """
import contextlib, sys
import snnhll
from snnhll.cli.main import main
for arguments in {commands}:
    with contextlib.suppress(SystemExit):
        main(arguments)
print("heavy:", *(name for name in {heavy} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("commands", "heavy"),
    [
        ([["--help"], ["--version"], ["trian"]], HEAVY),
        ([["ls", "loss"], ["show"], ["train", "--help"]], ["torch", "wandb", "numba"]),
    ],
)
def test_quick_answers_import_nothing_heavy(commands: list[list[str]], heavy: list[str]) -> None:
    program = QUICK.format(commands=commands, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_names_every_command(snnhll: Command, word: str) -> None:
    answer = snnhll(word)
    assert answer.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in answer.out


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(snnhll: Command, command: str) -> None:
    answer = snnhll(command, "--help")
    assert answer.code == 0
    assert answer.out.startswith("snnhll ")
    assert command in answer.out.splitlines()[0]


def test_version(snnhll: Command) -> None:
    assert snnhll("--version").out == f"snnhll {__version__}\n"


def test_ls_lists_every_option_of_every_group_with_its_description(snnhll: Command) -> None:
    answer = snnhll("ls")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == groups()
    listed = [line.split(maxsplit=1) for line in lines if line.startswith(" ")]
    assert [name for name, *_ in listed] == [name for group in groups() for name in options(group)]
    assert [row for row in listed if len(row) == 1] == []


def test_ls_of_one_group(snnhll: Command) -> None:
    answer = snnhll("ls", "loss")
    assert "pred_sim " in answer.out
    assert "SNN-HLL (3-13)" in answer.out
    assert "mnist" not in answer.out


def test_ls_stops_without_a_word_when_its_reader_does() -> None:
    done = subprocess.run(
        f"'{PROGRAM}' ls | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{groups()[0]}\n", "")


def test_show_prints_the_composed_configuration_and_its_identity(snnhll: Command, finished: Finished) -> None:
    answer = snnhll("show", *finished.overrides)
    shown = yaml.safe_load(answer.out)
    assert shown["trainer"]["epochs"] == 1
    assert shown["architecture"]["spec"] == "4C3-P2-FCn"
    assert shown["data"]["name"] == "digits"
    assert "hydra" not in shown
    assert shown == yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert answer.out.splitlines()[-1] == f"# identity {finished.result['config_hash']}"


def test_show_raw_keeps_interpolations(snnhll: Command) -> None:
    assert yaml.safe_load(snnhll("show", "--raw").out)["trainer"]["epochs"] == "${data.recommended.epochs}"


def test_validate_accepts_what_is_shipped(snnhll: Command) -> None:
    answer = snnhll("validate", "schedule", "noise", "table_4_3", "table_4_6")
    assert answer.code == 0
    assert answer.out == f"{len(options('schedule')) + len(options('noise'))} options and 2 sweeps checked, all valid\n"


def test_validate_names_what_is_wrong(snnhll: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copied = tmp_path / "conf"
    shutil.copytree(conf_dir(), copied)
    noise = copied / "noise" / "gaussian.yaml"
    noise.write_text(noise.read_text().replace("std: 0.4", "sdt: 0.4"))
    monkeypatch.setattr("snnhll.config.conf_dir", lambda: copied)
    answer = snnhll("validate", "noise")
    assert answer.code == 2
    assert answer.out == "noise=gaussian: noise.sdt: no such key. Did you mean 'std'?\n"
    assert answer.err == f"snnhll: 1 mistake in {len(options('noise'))} options.\n"


def test_validate_names_file_row_and_mistake_of_every_wrong_row_of_a_sweep(snnhll: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "rows:\n  - {name: a, overrides: [loss=pred_smi]}\n  - {name: b, overrides: [loss=sim]}\n"
        "  - {name: c, overrides: [optimizer.lr=fast]}\n  - {name: d, overrides: [], noise: [noise=gausian]}\n"
    )
    (tmp_path / "yours.yaml").write_text("rows:\n  - {name: a, override: [loss=sim]}\n")
    answer = snnhll("validate", "mine.yaml", "yours.yaml", "nowhere.yaml")
    assert answer.code == 2
    first, third, fourth, other, missing = answer.out.splitlines()
    assert first == "mine.yaml: row 1 (a): loss=pred_smi: no such option. Did you mean 'pred_sim'?"
    assert third.startswith("mine.yaml: row 3 (c): optimizer.lr: ")
    assert fourth == "mine.yaml: row 4 (d): noise=gausian: no such option. Did you mean 'gaussian'?"
    assert other == "yours.yaml: row 1 (a): override: no such key. Did you mean 'overrides'?"
    assert missing == "nowhere.yaml: no such sweep file."
    assert answer.err == "snnhll: 5 mistakes in 3 sweeps.\n"


def test_data_reads_the_set_and_says_what_it_holds(snnhll: Command) -> None:
    answer = snnhll("data", "digits")
    assert answer.code == 0
    assert "digits: 1438 training and 359 test images of 1x8x8" in answer.out
    assert "10 classes" in answer.out


def test_eval_repeats_the_test_accuracy_of_the_run(snnhll: Command, finished: Finished) -> None:
    answer = snnhll("eval", str(finished.folder), "--json")
    (row,) = json.loads(answer.out)
    assert row["run_dir"] == str(finished.folder)
    assert row["test_accuracy"] == finished.result["test_accuracy"]
    assert row["layer_test_accuracy"] == finished.result["layer_test_accuracy"]
    assert row["firing_rates"] == finished.result["firing_rates"]


def test_eval_goes_through_noise_levels(snnhll: Command, finished: Finished) -> None:
    answer = snnhll("eval", str(finished.folder), "noise=gaussian", "noise.std=0,0.4", "--json")
    clean, noisy = json.loads(answer.out)
    assert clean["overrides"] == ["noise=gaussian", "noise.std=0"]
    assert noisy["overrides"] == ["noise=gaussian", "noise.std=0.4"]
    assert clean["firing_rates"] == finished.result["firing_rates"]
    assert clean["test_accuracy"] == finished.result["test_accuracy"]
    assert noisy["firing_rates"] != clean["firing_rates"]


def test_eval_under_attack_is_what_a_run_tested_under_attack_reports(snnhll: Command, finished: Finished) -> None:
    """Noise on test images only changes nothing of the training, so both have the same weights."""
    assert snnhll("train", *TINY, "noise=pgd", "output_dir=runs").code == 0
    (row,) = json.loads(snnhll("eval", str(finished.folder), "noise=pgd", "--json").out)
    result = read_result(only_run(Path("runs")))
    assert row["test_accuracy"] == result["test_accuracy"] < finished.result["test_accuracy"]


def test_eval_takes_threads(snnhll: Command, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    assert snnhll("eval", str(finished.folder)).code == 0
    assert asked == []
    assert snnhll("eval", str(finished.folder), "threads=2").code == 0
    assert asked == [2, torch.get_num_threads()]


def test_eval_leaves_out_what_is_no_run(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    """As outputs/* names what a sweep keeps beside its runs."""
    (tmp_path / "wandb").mkdir()
    answer = snnhll("eval", "wandb", str(finished.folder))
    assert answer.code == 0
    assert answer.err == "snnhll: wandb: no trained run; left out.\n"
    assert len(answer.out.splitlines()) == 2
    assert snnhll("eval", str(finished.folder), "wandbb").err.startswith("snnhll: wandbb: no run here")
    assert snnhll("eval", "wandb").err.startswith("snnhll: wandb: no run here")


def test_a_folder_may_have_an_equals_sign(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    run = tmp_path / "lr=0.1" / finished.folder.name
    shutil.copytree(finished.folder, run)
    assert finished.folder.name in snnhll("eval", str(run)).out
    assert "## 1 run compared" in snnhll("report", "lr=0.1", "--format", "md").out


def test_eval_prints_one_line_a_choice(snnhll: Command, finished: Finished) -> None:
    answer = snnhll("eval", str(finished.folder), "noise=salt_pepper", "noise.p=0.1,0.2,0.3")
    heading, *lines = answer.out.splitlines()
    assert heading.split() == ["run", "overrides", "test", "accuracy", "firing", "rates"]
    assert [line.split()[:3] for line in lines] == [
        [finished.folder.name, "noise=salt_pepper", f"noise.p={p}"] for p in ("0.1", "0.2", "0.3")
    ]


def test_eval_draws_accuracy_against_level_and_examples(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    levels = ("noise=fgsm,pgd", "noise.epsilon=0,0.1,0.3")
    answer = snnhll("eval", str(finished.folder), *levels, "--json", "--out", "pictures")
    rows = json.loads(answer.out)
    assert [row["overrides"] for row in rows] == [
        [f"noise={kind}", f"noise.epsilon={e}"] for kind in ("fgsm", "pgd") for e in ("0", "0.1", "0.3")
    ]
    assert {row["test_accuracy"] for row in rows[::3]} == {finished.result["test_accuracy"]}
    written = [tmp_path / "pictures" / name for name in ("noise.json", "noise_accuracy.svg", "noise_accuracy.png")]
    written.append(tmp_path / "pictures" / "noise_examples.png")
    assert answer.err.split() == [str(path.relative_to(tmp_path)) for path in written]
    assert json.loads(written[0].read_text()) == rows
    assert all(path.stat().st_size > 0 for path in written)


def test_eval_leaves_the_run_as_it_was(snnhll: Command, finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    assert snnhll("eval", str(finished.folder)).code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before


COMPLETIONS = {
    "": ["train", "loss=", "seed="],
    "tr": ["train", "trainer."],
    "ev": ["eval"],
    "lo": ["loss=", "loss."],
    "train lo": ["loss=", "loss."],
    "train loss=pred_s": ["loss=pred_sim", "loss=pred_sim_contrast"],
    "show data=m": ["data=mnist"],
    "train data=digits neuron.v": ["neuron.v_th=", "neuron.v_reset="],
    "train noise=gaussian noise.": ["noise.std="],
    "train loss=pred -m see": ["seed="],
    "-m loss=pred,pred_s": ["loss=pred,pred_sim", "loss=pred,pred_sim_contrast"],
    "ls lo": ["loss"],
    "data fa": ["fashion_mnist"],
    "sweep table_3": ["table_3_2", "table_3_5"],
    "train experiment=hll_mnist_m": ["experiment=hll_mnist_mlp"],
    "train experiment=cited/w": ["experiment=cited/wu2019_mnist"],
    "sweep table_3_5 sc": ["scale=", "scale."],
    "sweep table_3_5 table_3": ["table_3_2"],
    "sweep table_3_2 loss=pred,sim see": ["seed="],
    "eval outputs/RUN noise=": ["noise=gaussian"],
    "eval outputs/RUN noise=gaussian noise.s": ["noise.std="],
    "train data.root=out": ["data.root=outputs/"],
    "train --config-dir my_conf loss=mi": ["loss=mine"],
    "train --config-dir my_conf loss=mine loss.weights.mi": ["loss.weights.mine="],
    "plot neur": ["neurons", "neuron="],
}


@pytest.fixture
def somewhere(tmp_path: Path) -> None:
    """The folder that lines are completed in: a run, and an option of one's own."""
    (tmp_path / "outputs" / "RUN").mkdir(parents=True)
    (tmp_path / "my_conf" / "loss").mkdir(parents=True)
    (tmp_path / "my_conf" / "loss" / "mine.yaml").write_text(
        "defaults: [pred, _self_]\nname: mine\nweights: {mine: 1.0}\n"
    )


ALL_COMPLETIONS = {
    "eval outp": ["outputs/"],
    "report outp": ["outputs/"],
    "eval outputs/": ["outputs/RUN/"],
    "eval outputs/RUN opt": [],
    "export RUN --t": ["--to"],
    "export RUN --to ": [],
    "bench --st": ["--steps", "--stages"],
    "bench mlp c": ["conv"],
    "eval RUN --j": ["--json"],
    "train --config-d": ["--config-dir"],
    "report table_3_5 --f": ["--format"],
    "train loss=pred_smi neuron.": [],
    "train --config-dir nowhere loss=": [],
}


@pytest.mark.parametrize("line", list(ALL_COMPLETIONS))
@pytest.mark.usefixtures("somewhere")
def test_all_completions(snnhll: Command, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("COMP_LINE", f"snnhll {line}")
    answer = snnhll("-sc", "query=bash")
    assert (answer.code, answer.out.split(), answer.err) == (0, ALL_COMPLETIONS[line], "")


@pytest.mark.parametrize("line", list(COMPLETIONS))
@pytest.mark.usefixtures("somewhere")
def test_completion(snnhll: Command, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """As Hydra's bash completion asks: the line in COMP_LINE, the answer as words on stdout."""
    monkeypatch.setenv("COMP_LINE", f"snnhll {line}")
    monkeypatch.setenv("COMP_POINT", str(len(f"snnhll {line}")))
    answer = snnhll("-sc", "query=bash")
    found = answer.out.split()
    assert (answer.code, answer.err) == (0, "")
    assert set(COMPLETIONS[line]) <= set(found)
    if line:
        assert all(word.startswith(line.split()[-1]) for word in found)
    assert not [word for word in found if "=_" in word or "_target_" in word]


def test_completion_in_a_shell() -> None:
    script = """
        eval "$(snnhll -sc install=bash)"
        COMP_LINE="snnhll train loss=sim_c" COMP_POINT=23 COMP_CWORD=2
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    path = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ | path)
    assert (done.stdout, done.stderr) == ("loss=sim_contrast\n", "")
