"""Figures of a table: bars against published values, learning curves, layers, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from snnhll.build import locate
from snnhll.errors import UserError
from snnhll.reports import style
from snnhll.reports.statistics import mean, sample_std
from snnhll.reports.tables import Run, Table, TableRow

LINES = ("-", "--", ":")
BAR = 0.62  # of the space of a row


def draw(table: Table) -> dict[str, Figure]:
    """Return the figures of a table by name; those that nothing is known for are left out."""
    makers: dict[str, Callable[[Table], Figure | None]] = {
        "bars": bars,
        "curves": learning_curves,
        "layers": layer_accuracy,
        "rates": firing_rates,
        "cost": cost,
    }
    drawn = {name: make(table) for name, make in makers.items()}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def save_all(table: Table, folder: Path) -> list[Path]:
    """Write every figure of a table as .svg and .png into `folder` and return the paths."""
    return [
        style.save(picture, folder / f"{table.name}_{name}.{kind}")
        for name, picture in draw(table).items()
        for kind in ("svg", "png")
    ]


def bars(table: Table) -> Figure | None:
    """Draw a bar for each row measured here, its standard deviation, and a diamond where a figure was published."""
    rows = [row for row in table.rows if row.mean is not None or row.published is not None]
    if not rows:
        return None
    names = style.labels([row.name for row in rows])
    lines = max(map(style.line_count, names))
    title = _title(table)
    around = 0.7 + 0.2 * style.line_count(title)
    picture, (panel,) = style.figure(width=7.0, height=around + max(0.33, style.GAP + style.LINE * lines) * len(rows))
    places = list(range(len(rows)))[::-1]
    start = _axis_start(rows)
    for place, row in zip(places, rows, strict=True):
        if row.mean is not None:
            panel.barh(
                place,
                row.mean - start,
                BAR,
                left=start,
                color=style.COLOURS[0] if row.status == "finished" else "white",
                edgecolor=style.COLOURS[0],
                hatch=None if row.status == "finished" else "////",
                xerr=row.std,
                error_kw={"ecolor": "black", "capsize": 3, "elinewidth": 1.2},
            )
        if row.published is not None:
            panel.plot(row.published, place, "D", color=style.COLOURS[5], mec="white", mew=0.8, ms=7, zorder=5)
        text = "  ".join(_bar_text(table, row))
        panel.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    panel.set_yticks(places, names, fontsize=style.SMALL if lines > 1 else None)
    label = f"{table.metric.title}" + (f" (axis starts at {start:g})" if start else "")
    panel.set(xlabel=label, ylim=(-0.6, len(rows) - 0.4))
    _entitle(picture, title)
    low, high = min(start, panel.dataLim.x0), max(start, panel.dataLim.x1)
    margin = 0.04 * (high - low)
    panel.set_xlim(low if low == start else low - margin, high if high == start else high + margin)
    if low < start:
        panel.axvline(start, color="black", linewidth=0.8)
    panel.grid(axis="y", visible=False)
    _bar_legend(picture, rows)
    return picture


def _axis_start(rows: Sequence[TableRow]) -> float:
    """Return where the axis starts: at 0, or where all values lie close together, at the ten below all of them."""
    lowest = min(
        min(row.mean - (row.std or 0.0) if row.mean is not None else 100.0 for row in rows),
        min(row.published if row.published is not None else 100.0 for row in rows),
    )
    highest = max(max(row.mean or 0.0, row.published or 0.0) for row in rows)
    return 10 * ((lowest - 2) // 10) if lowest > 0.5 * highest and highest <= 100 and lowest > 12 else 0.0


def _bar_text(table: Table, row: TableRow) -> list[str]:
    ours = []
    if row.mean is not None:
        spread = "" if row.std is None else f" ± {table.metric.text(row.std)}"
        ours.append(table.metric.text(row.mean) + spread + (f" n={row.n}" if row.status == "finished" else ""))
    if row.n_wanted and row.status != "finished":
        ours.append(f"({row.n}/{row.n_wanted} seeds{', failed' if row.failed else ''})")
    return ours + ([] if row.published is None else [f"published {table.metric.text(row.published)}"])


def _bar_legend(picture: Figure, rows: Sequence[TableRow]) -> None:
    handles: list[Any] = []
    if any(row.mean is not None for row in rows):
        handles.append(Line2D([], [], color=style.COLOURS[0], lw=7, label="ours: mean ± sample std over seeds"))
    if any(row.mean is not None and row.status != "finished" for row in rows):
        handles.append(Patch(fc="white", ec=style.COLOURS[0], hatch="////", label="not all seeds"))
    if any(row.published is not None for row in rows):
        handles.append(Line2D([], [], color=style.COLOURS[5], marker="D", ls="", label="published"))
    picture.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def learning_curves(table: Table) -> Figure | None:
    """Draw accuracy on validation over the epochs, mean over seeds with a band of one standard deviation.

    Training accuracy stands in where no validation split was held out.
    """
    rows = _measured(table)
    if not any(run.epochs for row in rows for run in row.runs):
        return None
    validated = all(epoch["val_accuracy"] is not None for row in rows for run in row.runs for epoch in run.epochs)
    key = "val_accuracy" if validated else "train_accuracy"
    picture, (panel,) = style.figure(width=7.0, height=4.2)
    for i, row in enumerate(rows):
        length = min((len(run.epochs) for run in row.runs), default=0)
        values = [[100 * run.epochs[e][key] for run in row.runs] for e in range(length)]
        _band(panel, [e + 1 for e in range(length)], values, i, row.name, marker=False)
    style.whole_numbers(panel)
    split = "validation" if validated else "training"
    panel.set(xlabel="epoch", ylabel=f"{split} accuracy in %")
    _entitle(picture, _title(table, "learning curves"))
    _legend(picture, panel)
    return picture


def layer_accuracy(table: Table) -> Figure | None:
    """Draw the test accuracy of every layer's own head, and of the readout, which stands at the right end."""

    def values(run: Run) -> list[float | None]:
        return [None if share is None else 100 * share for share in run.result.layer_test_accuracy]

    return _by_layer(table, values, "test accuracy of its head in %", "accuracy by layer", readout=True)


def firing_rates(table: Table) -> Figure | None:
    """Draw the mean firing rate of every layer on the test images."""

    def values(run: Run) -> list[float | None]:
        return list(run.result.firing_rates)

    return _by_layer(table, values, "spikes per neuron and step", "firing rate by layer", readout=False)


def _by_layer(
    table: Table, values: Callable[[Run], list[float | None]], label: str, title: str, readout: bool
) -> Figure | None:
    """Draw `values` over the layers, of rows that have any beside the readout's."""
    hidden = slice(-1) if readout else slice(None)
    rows = {
        i: row
        for i, row in enumerate(_measured(table))
        if any(value is not None for run in row.runs for value in values(run)[hidden])
    }
    if not rows:
        return None
    picture, (panel,) = style.figure(width=7.0, height=4.2)
    deepest = max(len(values(run)) for row in rows.values() for run in row.runs)
    for i, row in rows.items():
        layers = len(values(row.runs[0]))
        by_layer = [[v for run in row.runs if (v := values(run)[k]) is not None] for k in range(layers)]
        places = [k + 1 for k in range(layers - 1)] + [deepest if readout else layers]
        known = [k for k in range(layers) if by_layer[k]]
        _band(panel, [places[k] for k in known], [by_layer[k] for k in known], i, row.name, marker=True)
    ticks = list(range(1, deepest + 1))
    panel.set_xticks(ticks, [*map(str, ticks[:-1]), "readout"] if readout else [*map(str, ticks)])
    panel.set(xlabel="layer", ylabel=label)
    _entitle(picture, _title(table, title))
    if not readout:
        panel.set_ylim(bottom=0)
    _legend(picture, panel)
    return picture


def cost(table: Table) -> Figure | None:
    """Draw accuracy against synaptic operations of inference and against peak memory of training.

    Filled markers are rules in which no layer waits for another's error, hollow ones are global, or unknown: accuracy,
    cost and locality in one picture.
    """
    rows = _measured(table)
    if not rows:
        return None
    localities = [_locality(row) for row in rows]
    faces = [_colour(i) if locality == "local" else "white" for i, locality in enumerate(localities)]
    picture, panels = style.figure(columns=2, width=4.6, height=3.9)
    axes = {
        "synaptic_operations_per_image": ("synaptic operations an image", 1.0),
        "peak_memory_bytes": ("peak memory of training in MiB", 2.0**20),
    }
    for panel, (key, (label, unit)) in zip(panels, axes.items(), strict=True):
        for i, row in enumerate(rows):
            x = [getattr(run.result, key) / unit for run in row.runs if getattr(run.result, key) is not None]
            y = [100 * run.result.test_accuracy for run in row.runs if run.result.test_accuracy is not None]
            if x and y:
                panel.errorbar(
                    sum(x) / len(x),
                    sum(y) / len(y),
                    xerr=sample_std(x),
                    yerr=sample_std(y),
                    fmt=_marker(i),
                    color=_colour(i),
                    mfc=faces[i],
                    ms=8,
                    capsize=3,
                    elinewidth=1,
                )
        panel.set(xlabel=label, ylabel="test accuracy in %")
        if _spans_decades(panel):
            panel.set_xscale("log")
        else:  # from 0, so that a small difference in cost looks small
            panel.set_xlim(0, 1.08 * panel.dataLim.x1)
            panel.xaxis.set_major_locator(MaxNLocator(5))
    _entitle(picture, _title(table, "accuracy against cost; filled: local, hollow: global", width=96))
    handles = [Line2D([], [], marker=_marker(i), color=_colour(i), mfc=face, ls="") for i, face in enumerate(faces)]
    names = [
        row.name + ("" if locality == "local" else f" ({locality})")
        for row, locality in zip(rows, localities, strict=True)
    ]
    style.legend_below(picture, handles, names)
    return picture


def _spans_decades(panel: Axes) -> bool:
    low, high = panel.dataLim.intervalx
    return bool(low > 0 and high / low > 10)


def _locality(row: TableRow) -> str:
    """Return `local` where the rules of all runs of a row say so of themselves, else `global`; `unknown` where one is
    not installed here, for nothing else of a report needs the user's own code."""
    try:
        rules = [locate(run.config["rule"], "rule", run.config["trust"]) for run in row.runs]
    except UserError:
        return "unknown"
    return "local" if all(getattr(rule, "local", False) for rule in rules) else "global"


def _measured(table: Table) -> list[TableRow]:
    """Return the rows with finished runs; rows on the same runs, as under several noises, are one, by a common name."""
    rows: dict[tuple[str, ...], list[TableRow]] = {}
    for row in table.rows:
        if row.runs:
            rows.setdefault(tuple(run.result.run_dir for run in row.runs), []).append(row)
    return [replace(alike[0], name=_common([row.name for row in alike])) for alike in rows.values()]


def _common(names: Sequence[str]) -> str:
    """Return the parts between commas that all `names` have; the first name where there are none."""
    shared = [part for part in names[0].split(", ") if all(part in name.split(", ") for name in names)]
    return ", ".join(shared) or names[0]


def _band(panel: Axes, x: Sequence[int], values: Sequence[list[float]], i: int, name: str, marker: bool) -> None:
    """Draw means with a band of one sample standard deviation."""
    centre = [mean(v) or 0.0 for v in values]
    spread = [sample_std(v) or 0.0 for v in values]
    colour, line = _colour(i), LINES[i // len(style.COLOURS) % len(LINES)]
    every = 1 if marker else max(len(x) // 8, 1)
    panel.plot(x, centre, line, color=colour, marker=_marker(i), ms=4, markevery=every, label=name)
    low, high = (
        [c - s for c, s in zip(centre, spread, strict=True)],
        [c + s for c, s in zip(centre, spread, strict=True)],
    )
    panel.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)


def _colour(i: int) -> str:
    return style.COLOURS[i % len(style.COLOURS)]


def _marker(i: int) -> str:
    """Return a marker, such that no two rows of up to 64 share both it and their colour."""
    return style.MARKERS[(i + i // len(style.COLOURS)) % len(style.MARKERS)]


def _entitle(picture: Figure, title: str) -> None:
    """Put a title over the middle of the figure; centred over axes beside long names it would be cut off."""
    picture.suptitle(title, fontsize=11)


def _title(table: Table, what: str = "", width: int = 72) -> str:
    """Return the title of a figure, wrapped to `width` letters, with what must not be overlooked below it."""
    title = fill(table.title + (f": {what}" if what else ""), width)
    return title + (f"\n({table.caveat})" if table.caveat else "")


def _legend(picture: Figure, panel: Axes) -> None:
    style.legend_below(picture, *panel.get_legend_handles_labels())
