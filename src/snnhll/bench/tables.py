"""The benchmark's tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from snnhll.bench.contest import OURS, PEER_SETTINGS
from snnhll.bench.rounds import Row

MIB = 2**20


def comparison(work: str, rows: list[Row]) -> Table:
    """Return one line a measurement of this work, with speed and memory beside the best peer's.

    "x fp32", "x bf16": times the samples a second of the fastest peer in that setting, at the same T and batch.
    "of leanest": share of the smallest peak among the peers' measurements, likewise.
    """
    table = _table(f"{work}")
    for heading in ("framework", "setting"):
        table.add_column(heading)
    for heading in ("T", "batch", "samples/s", "(min-max)", "peak MiB", "x fp32", "x bf16", "of leanest"):
        table.add_column(heading, justify="right")
    for row in (row for row in rows if row.measurement.work.name == work):
        m = row.measurement
        head = (m.framework, m.setting, str(m.T), str(m.batch))
        if row.failure is not None:
            table.add_row(*head, "[red]failed[/]")
            continue
        alike = [r for r in rows if r.failure is None and _same_task(r, row)]
        low, high = row.spread
        table.add_row(
            *head,
            f"{row.speed:.4g}",
            f"({low:.4g}-{high:.4g})",
            f"{row.peak / MIB:.0f}",
            *(_times(row.speed, fastest(alike, setting)) for setting in PEER_SETTINGS.values()),
            _times(row.peak, leanest(alike)),
        )
    return table


def growth(rows: list[Row]) -> Table:
    """Return one line a setting, one column a point of growth, with samples a second and peak memory in each cell."""
    table = _table("samples/s, peak MiB")
    for heading in ("framework", "setting"):
        table.add_column(heading)
    points = list(dict.fromkeys(map(_point, rows)))
    for point in points:
        table.add_column(escape(point), justify="right")
    for contestant in dict.fromkeys(map(_contestant, rows)):
        own = {_point(row): row for row in rows if _contestant(row) == contestant}
        table.add_row(*contestant, *(_cell(own[point]) for point in points))
    return table


def fastest(rows: Iterable[Row], setting: str) -> float | None:
    """Return the samples a second of the fastest peer in a setting; None without one."""
    return max((r.speed for r in rows if _is_peer(r) and r.measurement.setting == setting), default=None)


def leanest(rows: Iterable[Row]) -> float | None:
    """Return the smallest peak memory of a peer in any setting, in bytes; None without one."""
    return min((r.peak for r in rows if _is_peer(r)), default=None)


def _is_peer(row: Row) -> bool:
    return row.measurement.framework != OURS


def _same_task(a: Row, b: Row) -> bool:
    left, right = a.measurement, b.measurement
    return (left.work, left.T, left.batch) == (right.work, right.T, right.batch)


def _contestant(row: Row) -> tuple[str, str]:
    return row.measurement.framework, row.measurement.setting


def _point(row: Row) -> str:
    m = row.measurement
    return f"{m.work.name}\nT {m.T}, batch {m.batch}"


def _times(value: float, reference: float | None) -> str:
    return f"{value / reference:.2f}" if reference else ""


def _cell(row: Row) -> str:
    return "failed" if row.failure is not None else f"{row.speed:.4g}, {row.peak / MIB:.0f}"


def _table(title: str) -> Table:
    return Table(title=f"[bold]{title}[/]", title_justify="left", box=None, pad_edge=False)
