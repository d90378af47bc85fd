"""How every picture looks: readable in print and for the colour-blind.

The palette is that of Okabe and Ito (2008) with grey in place of yellow, which paper swallows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#808080", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SMALL = 8  # points, of legends and of names that need several lines
LETTER, LINE, GAP = 0.07, 0.135, 0.06  # inches that a letter, a line, and the space between entries take at most
NAME = 44  # letters in a line of a name at most
NAME_LINES = 6
SETTINGS = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "font.size": 10,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "svg.hashsalt": "snnhll",
}


def figure(
    columns: int = 1,
    rows: int = 1,
    width: float = 5.0,
    height: float = 3.4,
    heights: Sequence[float] | None = None,
    widths: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `rows` by `columns` panels and its axes in reading order; sizes in inches a panel.

    heights, widths: of the rows and columns among each other, equal by default.
    """
    with rc_context(SETTINGS):
        picture = Figure(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(picture)
        axes = picture.subplots(rows, columns, squeeze=False, height_ratios=heights, width_ratios=widths)
        return picture, [ax for row in axes for ax in row]


def save(picture: Figure, path: Path) -> Path:
    """Write the figure to `path`, in the format of its ending, and return the path."""
    with rc_context(SETTINGS):
        picture.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else {})
    return path


def whole_numbers(panel: Axes, axis: Literal["x", "y"] = "x") -> None:
    """Let the ticks of an axis of epochs, steps or neurons stand at whole numbers, though it shows but one of them."""
    panel.locator_params(axis=axis, integer=True, min_n_ticks=1)


def labels(names: Sequence[str]) -> list[str]:
    """Return `names` in lines short enough for a picture; of very long ones the middle is left out, unless two would
    then read alike."""
    wrapped = [wrap(name, NAME) for name in names]
    short = ["\n".join(_without_middle(lines)) for lines in wrapped]
    return short if len(set(short)) == len(set(names)) else ["\n".join(lines) for lines in wrapped]


def _without_middle(lines: list[str]) -> list[str]:
    if len(lines) <= NAME_LINES:
        return lines
    half = NAME_LINES // 2
    return [*lines[: half - 1], f"{lines[half - 1]} …", *lines[-half:]]


def line_count(text: str) -> int:
    """Return how many lines a label has."""
    return 1 + text.count("\n")


def legend_below(picture: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Put a legend below all panels, in as many columns as fit, and make the picture higher by what it needs."""
    texts = labels(names)
    width, height = picture.get_size_inches()
    widest = max((len(line) for text in texts for line in text.split("\n")), default=0)
    columns = max(1, min(3, len(texts), int(width / (LETTER * widest + 0.4))))
    needed = -(-len(texts) // columns) * (GAP + LINE * max(map(line_count, texts), default=0))
    picture.set_size_inches(width, height + max(needed - 0.4, 0.0))  # two lines fit into any picture
    picture.legend(handles, texts, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False)
