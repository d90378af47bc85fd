"""How every picture looks: readable in print and for the colour-blind.

The palette is that of Okabe and Ito (2008) with grey in place of yellow, which paper swallows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#808080", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
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
