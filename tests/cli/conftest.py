"""The command in this process, and one finished run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from cli_runs import TINY, Answer, Command, Finished, in_own_process, only_run

from snnhll.cli.main import main


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a tiny run; runs in a process of their own do draw."""
    monkeypatch.setattr("snnhll.reports.run_pictures.draw_run", lambda *_: [])


@pytest.fixture
def snnhll(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command line in this process, in an empty folder. Whatever is no user's mistake surfaces as an exception."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["snnhll"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(list(arguments))
        printed = capsys.readouterr()
        return Answer(int(exit_.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished run of `snnhll train`, where wandb cannot even be imported; not to be written to."""
    home = tmp_path_factory.mktemp("finished")
    (home / "poison").mkdir()
    (home / "poison" / "wandb.py").write_text("raise RuntimeError('tracking=none needs no wandb')")
    overrides = [*TINY, f"output_dir={home / 'runs'}"]
    path = os.pathsep.join([str(home / "poison"), *filter(None, [os.environ.get("PYTHONPATH")])])
    answer = in_own_process(["train", *overrides], home, PYTHONPATH=path)
    assert answer.code == 0, answer.err
    return Finished(answer, only_run(home / "runs"), overrides)
