"""Checkpoints: whole or not at all, tied to a configuration, and never code."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from snnhll import checkpoint
from snnhll.errors import UserError

CPU = torch.device("cpu")
STATE: dict[str, Any] = {
    "rule": {
        "module": {"w": torch.arange(6.0).view(2, 3)},
        "optimizers": [{"state": {0: {"step": torch.tensor(3.0)}}}],
    },
    "progress": {"epoch": 2, "sums": {"layer1/pred": 0.1}, "best_val": -1.0},
}


def test_gives_back_what_it_was_given(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", "abc", STATE)
    found = checkpoint.load(tmp_path / "c.pt", "abc", CPU)
    assert found is not None
    assert torch.equal(found["rule"]["module"]["w"], STATE["rule"]["module"]["w"])
    assert found["rule"]["optimizers"] == STATE["rule"]["optimizers"]
    assert found["progress"] == STATE["progress"]


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "c.pt", "abc", CPU) is None


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", "abc", STATE)
    with pytest.raises(UserError, match=r"c\.pt belongs to another configuration \(abc, expected abd\).*force=true"):
        checkpoint.load(tmp_path / "c.pt", "abd", CPU)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_damaged(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, "abc", STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(
        UserError, match=r"c\.pt is damaged and cannot be read; delete it, or start over with force=true"
    ):
        checkpoint.load(path, "abc", CPU)


@pytest.mark.parametrize("content", ["text", [1, 2], {"rule": {}}])
def test_file_of_something_else_is_damaged(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(tmp_path / "c.pt", "abc", CPU)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"config_hash": "abc", "trap": Trap(sprung)}, tmp_path / "c.pt")
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(tmp_path / "c.pt", "abc", CPU)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


def test_full_disk_leaves_the_last_checkpoint_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, "abc", {"epoch": 1})
    save = torch.save

    def full(state: Any, target: Path) -> NoReturn:
        save(state, target)
        target.write_bytes(target.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"Cannot write the checkpoint .*No space left.*choose output_dir=FOLDER"):
        checkpoint.save(path, "abc", {"epoch": 2})
    found = checkpoint.load(path, "abc", CPU)
    assert found is not None
    assert found["epoch"] == 1
    assert os.listdir(tmp_path) == ["c.pt"]


def test_process_that_dies_while_writing_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, "abc", {"epoch": 1})

    def die(state: Any, target: Path) -> NoReturn:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", die)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, "abc", {"epoch": 2})
    monkeypatch.undo()
    found = checkpoint.load(path, "abc", CPU)
    assert found is not None
    assert found["epoch"] == 1
    checkpoint.save(path, "abc", {"epoch": 3})
    assert os.listdir(tmp_path) == ["c.pt"]
