"""Run folders and the contract of result.json."""

from __future__ import annotations

import fcntl
import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from snnhll.config import Config, run_name
from snnhll.errors import UserError

Status = Literal["finished", "failed", "running"]


class BusyError(UserError):
    """Another process is at work on the run."""


@dataclass
class Result:
    """What a run reached. Accuracies are fractions; lists run over the layers, the readout last in accuracies."""

    status: Status
    config_hash: str
    overrides: list[str]
    data: str
    architecture: str
    rule: str
    loss: str
    seed: int
    epochs: int
    run_dir: str
    error: str | None = None
    data_variant: str = ""
    test_accuracy: float | None = None
    test_accuracy_best_val: float | None = None
    val_accuracy: float | None = None
    train_accuracy: float | None = None
    layer_test_accuracy: list[float | None] = field(default_factory=list)
    firing_rates: list[float] = field(default_factory=list)
    silent_share: list[float] = field(default_factory=list)
    saturated_share: list[float] = field(default_factory=list)
    samples_per_second: float | None = None
    loading_share: float | None = None
    wall_seconds: float | None = None
    peak_memory_bytes: int | None = None
    parameters: int | None = None
    synaptic_operations_per_image: float | None = None
    multiply_accumulates_per_image: float | None = None
    energy_nj_per_image: float | None = None
    device: str = ""
    backend: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    pictures: list[str] = field(default_factory=list)


class RunFolder:
    """The folder of one run: config.yaml, metrics.jsonl, checkpoints, result.json, pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(path: Path) -> RunFolder:
        """Create the folder if need be. Raises UserError when it cannot be written."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.write_bytes(b"x")
            probe.unlink(missing_ok=True)  # another process may have tried just now
        except OSError as error:
            raise unwritable(path, error) from error
        return RunFolder(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run, so that no second process works on it; released by the system when the process dies."""
        with (self.path / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BusyError(f"{self.path} is being trained by another process; wait for it or stop it.") from error
            yield

    def result(self) -> Result | None:
        """Return the stored result, or None when there is none that can be read. Its folder is this one, which may have
        been moved, or be called otherwise from where the run was trained."""
        try:
            stored = json.loads((self.path / "result.json").read_text())
            known = {f.name: stored[f.name] for f in fields(Result) if f.name in stored}  # a later version has more
            return Result(**known | {"run_dir": str(self.path)})
        except (OSError, ValueError, TypeError):
            return None

    def write_result(self, result: Result) -> None:
        """Write result.json in one step: a reader sees the old or the new one, never half."""
        write_atomic(self.path / "result.json", json.dumps(asdict(result), indent=2) + "\n")

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append one epoch to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the epochs of metrics.jsonl; a half-written last line is left out."""
        rows = []
        for line in _lines(self.path / "metrics.jsonl"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def keep_metrics(self, epochs: int) -> None:
        """Drop what a resumed run will write again: all epochs from `epochs` on."""
        kept = [json.dumps(row) + "\n" for row in self.metrics() if row["epoch"] < epochs]
        write_atomic(self.path / "metrics.jsonl", "".join(kept))

    @contextmanager
    def recording(self, result: Result) -> Iterator[None]:
        """Hold the run and, when it fails, write into its folder why. Raises UserError where the folder takes no
        data."""
        with self.lock():
            try:
                yield
            except Exception as error:
                result.status, result.error = "failed", " ".join(str(error).split()) or type(error).__name__
                with suppress(OSError):
                    self.write_error(error)
                    self.write_result(result)
                if isinstance(error, OSError):
                    raise unwritable(self.path, error) from error
                raise

    def write_error(self, error: BaseException) -> None:
        """Keep the traceback of a failed run beside its result."""
        (self.path / "error.txt").write_text("".join(traceback.format_exception(error)))


def run_path(config: Config) -> Path:
    """Return the folder of the run that a configuration defines."""
    return Path(str(config["output_dir"])) / run_name(config)


def finished(config: Config) -> Result | None:
    """Return the result of a run that has finished and is not to be repeated."""
    done = RunFolder(run_path(config)).result()
    return done if done is not None and done.status == "finished" and not config["force"] else None


def unwritable(path: Path, error: OSError) -> UserError:
    """Return the one line for a folder that is read-only or full."""
    return UserError(f"output_dir: cannot write to {path} ({error.strerror}). Free space, or choose output_dir=FOLDER.")


def make_folder(folder: Path) -> None:
    """Create a folder for what a command writes. Raises UserError when that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to ({error.strerror}); choose another with --out DIR.") from error


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; leave nothing behind when the disk does not take it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # another process may write the same
    try:
        partial.write_text(text)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
