"""Run folders: result.json whole or not at all, metrics that survive a crash, failures on record."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

import pytest

from snnhll.errors import UserError
from snnhll.results import Result, RunFolder, write_atomic


def result(**changes: Any) -> Result:
    known: dict[str, Any] = {
        "status": "running",
        "config_hash": "abc",
        "overrides": ["loss=pred"],
        "data": "digits",
        "architecture": "small",
        "rule": "local",
        "loss": "pred",
        "seed": 0,
        "epochs": 2,
        "run_dir": "outputs/x",
    }
    return Result(**(known | changes))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "deep" / "run")


# result.json


def test_contract_of_the_issue() -> None:
    promised = """status error config_hash overrides data architecture rule loss seed epochs test_accuracy
        test_accuracy_best_val val_accuracy train_accuracy layer_test_accuracy firing_rates samples_per_second
        wall_seconds peak_memory_bytes parameters synaptic_operations_per_image device versions commit"""
    assert set(promised.split()) <= {f.name for f in fields(Result)}


def test_result_is_read_back(folder: RunFolder) -> None:
    reached = {"test_accuracy": 0.5, "layer_test_accuracy": [None, 0.25], "versions": {"torch": "2"}}
    done = result(status="finished", run_dir=str(folder.path), **reached)
    folder.write_result(done)
    assert folder.result() == done
    assert json.loads((folder.path / "result.json").read_text()) == asdict(done)
    assert sorted(os.listdir(folder.path)) == ["result.json"]


def test_a_result_says_where_its_folder_is_now(folder: RunFolder) -> None:
    folder.write_result(result(status="finished", run_dir="outputs/x"))
    moved = RunFolder(folder.path.rename(folder.path.with_name("moved")))
    found = moved.result()
    assert found is not None
    assert found.run_dir == str(moved.path)


def test_a_result_of_a_version_that_knows_more_is_read(folder: RunFolder) -> None:
    done = result(status="finished", run_dir=str(folder.path))
    (folder.path / "result.json").write_text(json.dumps(asdict(done) | {"later": 1}))
    assert folder.result() == done


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"status": "finished"}', '{"unknown": 1}'])
def test_what_is_no_result_is_none(folder: RunFolder, text: str | None) -> None:
    if text is not None:
        (folder.path / "result.json").write_text(text)
    assert folder.result() is None


def test_a_crash_while_writing_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, "old")
    write_text = Path.write_text

    def half(self: Path, text: str) -> NoReturn:
        write_text(self, text[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new text")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_two_processes_may_write_the_same_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one writes all of its text while this one is about to put its own in place."""
    path = tmp_path / "result.json"
    other = f"from pathlib import Path; from snnhll.results import write_atomic; write_atomic(Path({str(path)!r}), 'b')"
    replace = os.replace

    def late(source: Path, target: Path) -> None:
        subprocess.run([sys.executable, "-c", other], check=True)
        assert path.read_text() == "b"
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    write_atomic(path, "a")
    assert path.read_text() == "a"
    assert os.listdir(tmp_path) == ["result.json"]


# The folder


def test_two_processes_may_create_the_same_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one removes its file of the same name first."""
    write_bytes = Path.write_bytes

    def removed(self: Path, content: bytes) -> None:
        write_bytes(self, content)
        self.unlink()

    monkeypatch.setattr(Path, "write_bytes", removed)
    assert RunFolder.create(tmp_path / "run").path.is_dir()


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"output_dir: cannot write to .*/file/run \(Not a directory\).*output_dir=FOLDER"
    ):
        RunFolder.create(tmp_path / "file" / "run")


def test_creating_leaves_nothing_in_it(folder: RunFolder) -> None:
    assert os.listdir(folder.path) == []
    (folder.path / "kept").write_text("x")
    RunFolder.create(folder.path)
    assert os.listdir(folder.path) == ["kept"]


def test_one_process_at_a_time(folder: RunFolder) -> None:
    with folder.lock(), pytest.raises(UserError, match="is being trained by another process"), folder.lock():
        raise AssertionError("two hold it")
    with folder.lock():
        pass


def test_a_dead_process_holds_nothing(folder: RunFolder) -> None:
    code = f"""
import os
from pathlib import Path
from snnhll.results import RunFolder
with RunFolder(Path({str(folder.path)!r})).lock():
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with folder.lock():
        pass


# Metrics


def rows(*epochs: int) -> list[dict[str, Any]]:
    return [{"epoch": e, "train_accuracy": e / 10} for e in epochs]


def test_metrics_are_appended_and_read(folder: RunFolder) -> None:
    assert folder.metrics() == []
    for row in rows(0, 1):
        folder.append_metrics(row)
    assert folder.metrics() == rows(0, 1)


def test_a_half_written_line_is_left_out_and_then_dropped(folder: RunFolder) -> None:
    for row in rows(0, 1):
        folder.append_metrics(row)
    with (folder.path / "metrics.jsonl").open("a") as handle:
        handle.write('{"epoch": 2, "tra')
    assert folder.metrics() == rows(0, 1)
    folder.keep_metrics(2)
    folder.append_metrics(rows(2)[0])
    assert folder.metrics() == rows(0, 1, 2)


@pytest.mark.parametrize("kept", [0, 1, 3, 9])
def test_a_resumed_run_keeps_the_epochs_before_its_own(folder: RunFolder, kept: int) -> None:
    for row in rows(0, 1, 2):
        folder.append_metrics(row)
    folder.keep_metrics(kept)
    assert folder.metrics() == rows(0, 1, 2)[:kept]


def test_keeping_nothing_makes_an_empty_file(folder: RunFolder) -> None:
    folder.keep_metrics(0)
    assert (folder.path / "metrics.jsonl").read_text() == ""


# Failure


def test_a_failure_is_recorded_in_one_line_with_its_traceback_beside(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="two"), folder.recording(result()):
        raise ValueError("one\n  two")
    found = folder.result()
    assert found is not None
    assert (found.status, found.error) == ("failed", "one two")
    assert "ValueError: one\n  two" in (folder.path / "error.txt").read_text()
    with folder.lock():
        pass


def test_a_failure_without_words_is_called_by_its_type(folder: RunFolder) -> None:
    with pytest.raises(AssertionError), folder.recording(result()):
        raise AssertionError
    found = folder.result()
    assert found is not None
    assert found.error == "AssertionError"


def test_a_disk_that_fails_is_the_user_s_to_mend(folder: RunFolder) -> None:
    with (
        pytest.raises(UserError, match=r"cannot write to .*\(No space left on device\)"),
        folder.recording(result()),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_interrupted_run_is_not_a_failed_one(folder: RunFolder) -> None:
    folder.write_result(result())
    with pytest.raises(KeyboardInterrupt), folder.recording(result()):
        raise KeyboardInterrupt
    found = folder.result()
    assert found is not None
    assert found.status == "running"
    assert not (folder.path / "error.txt").exists()


def test_success_writes_nothing_of_its_own(folder: RunFolder) -> None:
    with folder.recording(result()):
        pass
    assert folder.result() is None
