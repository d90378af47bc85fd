"""snnhll train, from the command line to the run folder; the same through Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from cli_runs import TINY, Command, Finished, in_own_process, only_run, read_metrics, read_result, repeatable

import snnhll as snnhll_package
from snnhll.data import open_images
from snnhll.data.pixels import to_unit


def test_train_writes_the_run_folder_and_says_where(finished: Finished) -> None:
    pictures = ["curves.png", "activity.png", "confusion.png", "raster.png"]
    for name in ("config.yaml", "metrics.jsonl", "checkpoint.pt", "result.json", *pictures):
        assert (finished.folder / name).stat().st_size > 0
    assert not [path for path in finished.folder.iterdir() if "partial" in path.name]
    result = finished.result
    assert result["status"] == "finished"
    assert result["pictures"] == pictures
    assert result["overrides"] == finished.overrides
    assert len(read_metrics(finished.folder)) == 1
    said = finished.answer.out
    assert f"test accuracy {result['test_accuracy']:.2%}" in said
    for picture in pictures:
        assert f"{finished.folder}/{picture}" in said
    assert f"{finished.folder}/result.json" in said
    assert finished.answer.err == ""


def test_a_run_of_hsic_also_draws_its_kernels_and_the_information_plane(tmp_path: Path) -> None:
    own = [*TINY, "loss=hsic", "trainer.update=rate", "data.balanced=true", f"output_dir={tmp_path / 'runs'}"]
    answer = in_own_process(["train", *own], tmp_path)
    assert answer.code == 0, answer.err
    folder = only_run(tmp_path / "runs")
    assert read_result(folder)["pictures"][-2:] == ["kernels.png", "information.png"]
    for name in ("kernels.png", "information.png", "similarities.pt"):
        assert (folder / name).stat().st_size > 0
    assert set(read_metrics(folder)[0]["similarities"]) == {
        "hsic_xz",
        "hsic_zy",
        "slope_same_class",
        "slope_different_class",
    }


def test_piped_output_is_plain_lines(finished: Finished) -> None:
    assert "\x1b" not in finished.answer.out
    assert "\r" not in finished.answer.out
    assert finished.answer.out.count("epoch   1/1") == 1


def test_tracking_none_leaves_no_wandb_folder(finished: Finished) -> None:
    assert not list(finished.folder.parent.parent.rglob("wandb"))


def test_without_the_word_train_it_is_the_same_run(snnhll: Command, finished: Finished) -> None:
    answer = snnhll(*finished.overrides)
    assert answer.code == 0
    assert str(finished.folder) in answer.out


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ([], "numba"),
        (["neuron=plif"], "reference: LIF neurons with these settings have no compiled form"),
        (["architecture.norm=bntt"], "reference: architecture.norm=bntt has no compiled form"),
    ],
)
def test_the_result_names_the_path_that_ran(overrides: list[str], path: str, snnhll: Command, tmp_path: Path) -> None:
    assert snnhll("train", *TINY, *overrides, "output_dir=runs").code == 0
    assert read_result(only_run(tmp_path / "runs"))["backend"] == path


def test_a_finished_run_is_not_repeated(
    snnhll: Command, finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("trained again")

    monkeypatch.setattr("snnhll.experiment.train", refuse)
    before = {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    answer = snnhll("train", *finished.overrides)
    assert answer.code == 0
    assert "force=true" in answer.out
    assert f"{finished.result['test_accuracy']:.2%}" in answer.out
    assert {path: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before


def test_a_finished_run_is_known_without_importing_torch(finished: Finished) -> None:
    program = "import sys; from snnhll.cli.train import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", program, *finished.overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "finished before" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_force_trains_again_from_the_start_to_the_same_numbers(
    snnhll: Command, finished: Finished, tmp_path: Path
) -> None:
    shutil.copytree(finished.folder, tmp_path / "runs" / finished.folder.name)
    answer = snnhll("train", *TINY, "output_dir=runs", "force=true")
    assert answer.code == 0
    folder = only_run(tmp_path / "runs")
    assert (folder / "metrics.jsonl").stat().st_mtime_ns > (finished.folder / "metrics.jsonl").stat().st_mtime_ns
    assert list(map(repeatable, read_metrics(folder))) == list(map(repeatable, read_metrics(finished.folder)))
    assert repeatable(read_result(folder)) == repeatable(finished.result)


def test_what_does_not_define_a_run_does_not_rename_it(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "runs" / finished.folder.name)
    answer = snnhll("train", *TINY, "output_dir=runs", "device=cpu", "data.root=elsewhere", "tracking.name=other")
    assert answer.code == 0
    assert "finished before" in answer.out
    assert only_run(tmp_path / "runs").name == finished.folder.name


def test_a_run_in_progress_is_left_alone(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    """A second process must not touch the result of the first."""
    from snnhll.results import RunFolder

    folder = tmp_path / "runs" / finished.folder.name
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"status": "running"}')
    with RunFolder(folder).lock():
        answer = snnhll("train", *TINY, "output_dir=runs")
    assert answer.code == 2
    assert "being trained by another process" in answer.err
    assert (folder / "result.json").read_text() == '{"status": "running"}'
    assert not (folder / "error.txt").exists()


def test_python_does_the_same_silently(finished: Finished, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = snnhll_package.train([*TINY, f"output_dir={tmp_path}"])
    assert result.status == "finished"
    assert capfd.readouterr() == ("", "")
    assert repeatable(read_result(only_run(tmp_path))) == repeatable(finished.result)
    assert vars(result) == read_result(only_run(tmp_path))


def test_python_loads_what_was_trained(finished: Finished) -> None:
    network = snnhll_package.load(finished.folder)
    digits = open_images({"_target_": "snnhll.data.digits.load", "root": "", "download": False})
    logits = network(to_unit(digits.test_images))
    assert not network.training
    accuracy = (logits.argmax(1) == digits.test_labels).double().mean().item()
    assert accuracy == pytest.approx(finished.result["test_accuracy"], abs=1e-6)


def test_python_raises_what_the_command_line_prints() -> None:
    with pytest.raises(snnhll_package.UserError, match=r"nueron\.v_th: no such key\. Did you mean 'neuron\.v_th'\?"):
        snnhll_package.train(["nueron.v_th=1"])
    with pytest.raises(snnhll_package.UserError, match="no run here"):
        snnhll_package.load("nowhere")
    with pytest.raises(snnhll_package.UserError, match=r"^'loss=pred': expected a list of overrides, as in \['loss="):
        snnhll_package.train("loss=pred")


def test_python_lists_what_it_imports_later() -> None:
    program = "import snnhll, sys; print({*snnhll.__all__, 'errors'} <= {*dir(snnhll)}, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True False\n"
