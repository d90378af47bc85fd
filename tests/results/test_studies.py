"""The figures of the results page are those of the runs whose records lie beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snnhll.cli.main import main

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path.parent.name for path in (ROOT / "results").glob("*/*.csv"))
FIGURE = r"\d+\.\d+ ± \d+\.\d+ \(n=\d+\)"


@pytest.mark.parametrize("study", STUDIES)
def test_committed_table_is_what_its_runs_give(
    study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["report", study, "scale=paper", "output_dir=results/runs", "--format", "csv"]) == 0
    assert capsys.readouterr().out == (ROOT / "results" / study / f"{study}.csv").read_text()


@pytest.mark.parametrize("page", ["README.md", "results/README.md"])
def test_figures_over_seeds_stand_in_a_table_of_the_studies(page: str) -> None:
    tables = "".join((ROOT / "results" / study / f"{study}.md").read_text() for study in STUDIES)
    quoted = re.findall(FIGURE, (ROOT / page).read_text())
    assert quoted
    assert [figure for figure in quoted if figure not in tables] == []
