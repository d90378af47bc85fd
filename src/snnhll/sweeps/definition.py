"""Sweep files: the rows of a table, what runs for each, and what was published.

    title: a sentence about the table
    data: cifar10                        # the set that the published figures are on
    metric: test_accuracy                # or accuracy_drop: clean minus noisy test accuracy; rows then name their noise
    seeds: 3                             # a number, or a list of seeds; scale=smoke may take fewer
    overrides: [experiment=hll_cifar10]  # of every row
    rows:
      - name: pred_sim
        overrides: [loss=pred_sim]       # a row without this key and noise that has one of the next three only quotes
        published: 90.77                 # in %, or in points for a drop; null where nothing was published
        reference: Someone 2020          # whose figure it is
        about: {network: VGG8, T: 10}    # further columns of the table
        noise: [noise=gaussian]          # with metric accuracy_drop
        data: mnist                      # where it is not that of the sweep

A sweep is named by its file: `table_3_5` is sweeps/table_3_5.yaml, `studies/mine.yaml` is a file of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from snnhll.build import check
from snnhll.errors import UserError, nearest

Metric = Literal["test_accuracy", "accuracy_drop"]


@dataclass(frozen=True)
class Row:
    """One line of a table. overrides: beside those of the sweep; None where the row only quotes a figure."""

    name: str
    overrides: list[str] | None = None
    published: float | None = None
    reference: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)
    data: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A whole sweep file. `path` is the file, `name` what the sweep is called."""

    name: str
    path: Path
    title: str
    rows: list[Row]
    data: str | None = None
    metric: Metric = "test_accuracy"
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    overrides: list[str] = field(default_factory=list)

    @property
    def called(self) -> str:
        """How the command line names the sweep: a shipped one by its name, a file of the user's own by its path."""
        return self.name if self.path.parent == folder() else str(self.path)

    def where(self, row: Row) -> str:
        """Return how messages name a row: file, place and name."""
        place = next(i for i, other in enumerate(self.rows, 1) if other is row)
        return f"{self.path}: row {place} ({row.name})"


def folder() -> Path:
    """Return the folder of the shipped sweeps: that of the installed package, else the repository's."""
    packaged = Path(__file__).parent
    return packaged if any(packaged.glob("*.yaml")) else Path(__file__).parents[3] / "sweeps"


def names() -> list[str]:
    """Return the names of the shipped sweeps."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def tables() -> list[str]:
    """Return the names of the shipped sweeps that are tables of the thesis; the others are studies of our own."""
    return [name for name in names() if name.startswith("table_")]


def describe(name: str) -> str:
    """Return what the first comment of a shipped sweep says after its command."""
    return (folder() / f"{name}.yaml").read_text().partition("\n")[0].partition("   ")[2].strip()


def find(name: str) -> Path:
    """Return the file of a shipped sweep or of the user's own. Raises UserError when there is none."""
    if name in names():
        return folder() / f"{name}.yaml"
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"{name}: no such sweep file.")
    raise UserError(f"{name!r} is not a sweep.{nearest(name, names())} A file of your own is named by its path.")


def read(name: str) -> Sweep:
    """Return the sweep of that name or file. Raises UserError naming the file, the row and the mistake."""
    path = find(name)
    document = _load(path)
    _check(lambda: _known(document, ("title", "data", "metric", "seeds", "overrides", "rows")), str(path))
    title, rows = document.pop("title", path.stem), document.pop("rows", None)
    seeds = _seeds(document.pop("seeds", 3), path)
    options = _check(lambda: check(Sweep, document, "sweep"), str(path))
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: rows: expected a list of rows, each with a name.")
    found = [_row(node, f"{path}: row {i}", options.get("metric")) for i, node in enumerate(rows, 1)]
    called = [row.name for row in found]
    for i, row_name in enumerate(called):
        if row_name in called[:i]:
            raise UserError(
                f"{path}: row {i + 1} ({row_name}): row {called.index(row_name) + 1} has the same name; "
                f"give every row its own."
            )
    return Sweep(name=path.stem, path=path, title=str(title), rows=found, seeds=seeds, **options)


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected the keys of a sweep (title, overrides, rows), got {document!r}.")
    return document


def _row(node: Any, where: str, metric: Metric | None) -> Row:
    if not isinstance(node, dict) or not isinstance(node.get("name"), str):
        raise UserError(f"{where}: expected keys, with a name in text, got {node!r}.")
    where = f"{where} ({node['name']})"
    fields = tuple(Row.__dataclass_fields__)
    row = Row(**_check(lambda: check(Row, _known(node, fields), "row"), where))
    if row.overrides is None and (row.noise or not {"published", "reference", "about"} & node.keys()):
        row = replace(row, overrides=[])
    if row.overrides is not None and metric == "accuracy_drop" and not row.noise:
        raise UserError(f"{where}: noise: missing; a row of metric accuracy_drop needs it, as in [noise=gaussian].")
    return row


def _known(node: Mapping[str, Any], keys: tuple[str, ...]) -> Mapping[str, Any]:
    """Return `node`. Raises UserError when it has a key that is not among `keys`."""
    for key in node:
        if key not in keys:
            raise UserError(f"{key}: no such key.{nearest(str(key), keys)}")
    return node


def _seeds(value: Any, path: Path) -> list[int]:
    wanted = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    whole = isinstance(wanted, list) and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in wanted)
    if not whole or not wanted or len(set(wanted)) < len(wanted):
        raise UserError(f"{path}: seeds: expected a number of seeds or a list of different ones, got {value!r}.")
    return wanted


def _check(checked: Callable[[], Any], where: str) -> Any:
    """Return `checked()`, its mistakes told with the place they are in."""
    try:
        return checked()
    except UserError as error:
        message = str(error).removeprefix("row.").removeprefix("sweep.")
        raise UserError(f"{where}: {message}") from None
