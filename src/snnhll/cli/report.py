"""snnhll report TABLE|FILE ... [KEY=VALUE ...]   what the runs of sweeps reached, beside what was published
snnhll report RUN_DIR ...                       compare any runs: one row for each configuration, over its seeds

Finished and unfinished runs both count: a row says how many of its seeds it has. Overrides as in `snnhll sweep`;
without them those of the last sweep into the same output_dir. Without any name: all tables, with --html or --out.

  --format rich|md|csv|tex|json   what is printed (default: rich)
  --metric NAME                   another number of result.json: test_accuracy_best_val, wall_seconds, ...
  --group-by KEY ...              rows by these keys of the configuration, of RUN_DIR ...
  --out DIR                       write .md, .csv, .tex and .json of each table and its figures, .svg and .png
  --html                          write one self-contained page, report.html, into DIR or output_dir

  snnhll report table_3_5 scale=cpu --out results
  snnhll report outputs/digits-* --group-by loss.name trainer.steps --metric val_accuracy
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from snnhll.cli.flags import is_override
from snnhll.config import OWN, compose
from snnhll.errors import UserError, nearest
from snnhll.reports.metric import Metric
from snnhll.results import make_folder, write_atomic
from snnhll.sweeps.definition import Sweep, names, read
from snnhll.sweeps.definition import tables as thesis_tables
from snnhll.sweeps.jobs import plan
from snnhll.sweeps.launch import is_launching
from snnhll.sweeps.memo import recall

if TYPE_CHECKING:
    from snnhll.reports.tables import Table

FORMATS = ("rich", "md", "csv", "tex", "json")
FLAGS = {"--format": "FORMAT", "--metric": "NAME", "--group-by": "KEY", "--out": "DIR", "--html": ""}
WIDE = 220  # columns of the table where there is no terminal to fit


@dataclass
class Wanted:
    """The command line, taken apart."""

    subjects: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    group_by: list[str] = field(default_factory=list)
    format: str = "rich"
    metric: str | None = None
    out: Path | None = None
    html: bool = False


def main(arguments: list[str]) -> int:
    """Print, or write, the tables that were asked for."""
    wanted = parse(arguments)
    tables = find_tables(wanted)
    if wanted.out:
        for path in write(tables, wanted.out):
            print(path, file=sys.stderr)
    if wanted.html:
        print(_write_page(tables, wanted), file=sys.stderr)
    if wanted.subjects:
        show(tables, wanted.format)
    return 0


def parse(arguments: list[str]) -> Wanted:
    """Take the command line apart. Raises UserError for what it cannot read."""
    wanted, rest = Wanted(), list(arguments)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            (wanted.overrides if is_override(word) else wanted.subjects).append(word)
        elif flag not in FLAGS:
            raise UserError(f"{flag}: no such flag.{nearest(flag, FLAGS)}")
        elif flag == "--html":
            wanted.html = True
        elif flag == "--group-by":
            while not equals and rest and _is_key(rest[0]):
                wanted.group_by.append(rest.pop(0))
            wanted.group_by += value.split(",") if equals else []
        else:
            if not equals and not rest:
                raise UserError(f"{flag}: expected a value after it.")
            value = value if equals else rest.pop(0)
            setattr(wanted, flag.removeprefix("--"), Path(value) if flag == "--out" else value)
    if wanted.format not in FORMATS:
        raise UserError(f"--format {wanted.format}: no such format.{nearest(wanted.format, FORMATS)}")
    if wanted.metric is not None:
        Metric(wanted.metric)  # a misspelt one shows before any sweep is composed
    if not wanted.subjects and not (wanted.out or wanted.html):
        raise UserError(
            f"snnhll report needs a table ({', '.join(names())}), the folders of runs, --out DIR or --html."
        )
    return wanted


def _is_key(word: str) -> bool:
    """Return whether a word after --group-by is a key, rather than a flag, an override, a table or a folder."""
    return not (word.startswith("-") or "=" in word or word in names() or Path(word).exists())


def find_tables(wanted: Wanted) -> list[Table]:
    """Return the tables of the subjects: sweeps one table each, run folders one table together."""
    from snnhll.reports.tables import of_plan, of_runs

    folders = [Path(s) for s in wanted.subjects if s not in names() and Path(s).is_dir()]
    sweeps = [s for s in wanted.subjects if Path(s) not in folders] or ([] if folders else thesis_tables())
    if folders and wanted.overrides:
        raise UserError(f"{wanted.overrides[0]}: overrides choose the runs of a sweep; the folders are chosen already.")
    if sweeps and wanted.group_by:
        raise UserError("--group-by: goes with the folders of runs; the rows of a sweep are those of its file.")
    tables = []
    for sweep in map(read, sweeps):
        tables.append(of_plan(plan(sweep, _with_remembered(wanted.overrides, sweep)), wanted.metric))
    if folders:
        runs = [run for folder in folders for run in _runs_in(folder)]
        tables.append(of_runs(runs, wanted.metric or "test_accuracy", wanted.group_by))
    return tables


def _runs_in(folder: Path) -> list[Path]:
    """Return a run folder, or the run folders in a folder of them. Raises UserError when there are none."""
    if (folder / "config.yaml").exists():
        return [folder]
    runs = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not runs:
        raise UserError(f"{folder}: no run here; expected the folder of a run, with config.yaml in it.")
    return runs


def _with_remembered(overrides: list[str], sweep: Sweep) -> list[str]:
    """Return `overrides`, or where they name at most the output_dir and what is trusted, those of the last sweep.

    Where the runs were launched is of no account to a report.
    """
    overrides = [o for o in overrides if not is_launching(o)]
    where = [o for o in overrides if o.startswith(("output_dir=", *OWN))]
    if len(where) < len(overrides):
        return overrides
    known = recall(Path(str(compose(where)["output_dir"])), sweep)
    given = {o.partition("=")[0] for o in where}
    return [*(o for o in known if o.partition("=")[0] not in given), *where]


def write(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write every table in every format, and its figures, into `folder`; return the paths."""
    from snnhll.reports.figures import save_all
    from snnhll.reports.formats import WRITERS

    paths = []
    make_folder(folder)
    for table in tables:
        for kind, text in WRITERS.items():
            paths.append(folder / f"{table.name}.{kind}")
            write_atomic(paths[-1], text(table))
        paths += save_all(table, folder)
    return paths


def _write_page(tables: Sequence[Table], wanted: Wanted) -> Path:
    from snnhll.reports.html import page

    where = [o for o in wanted.overrides if o.startswith("output_dir=")]
    path = (wanted.out or Path(str(compose(where)["output_dir"]))) / "report.html"
    make_folder(path.parent)
    write_atomic(path, page(tables))
    return path


def show(tables: Sequence[Table], form: str) -> None:
    """Print the tables in one of `FORMATS`."""
    from snnhll.reports.formats import WRITERS, to_json, to_rich

    if form == "rich":
        for table in tables:
            terminal().print(to_rich(table))
    elif form == "json":
        sys.stdout.write(to_json(tables))
    else:
        sys.stdout.write("\n".join(WRITERS[form](table) for table in tables))


def terminal() -> Console:
    """Return a console as wide as the terminal or, where output is piped, wide enough for a table."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDE)
