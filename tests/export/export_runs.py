"""A small network trained by the command line, for the formats it is written in."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnhll.cli.main import main


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Path:
    """Run `snnhll train` on digits and return the folder of the run."""
    monkeypatch.setattr("snnhll.reports.run_pictures.draw_run", lambda *_: [])
    options = ("trainer.epochs=1", "tracking=none", "threads=1", f"output_dir={folder / 'runs'}")
    with pytest.raises(SystemExit) as exit_:
        main(["train", *options, *overrides])
    assert not exit_.value.code
    (run,) = (path for path in (folder / "runs").iterdir() if not path.name.startswith("."))
    return run
