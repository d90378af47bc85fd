"""The table of a sweep and its figures in Weights & Biases, beside the runs of the sweep."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from snnhll.reports.figures import draw
from snnhll.reports.formats import columns
from snnhll.reports.tables import Table
from snnhll.tracking.wandb import quiet_settings


def log_table(table: Table, config: dict[str, Any]) -> None:
    """Upload the table of a sweep and its figures, as one more run of the sweep's group; nothing under other trackers.

    The run's id is that of the sweep and of its settings, so a sweep that was continued replaces its table.
    """
    tracking = config["tracking"]
    if tracking["name"] != "wandb":
        return
    try:
        _log_table(table, tracking, str(config["output_dir"]))
    except Exception as error:  # the mirror must never stop a sweep, whatever is wrong with it
        warnings.warn(f"W&B has no table of this sweep: {error}", stacklevel=2)


def _log_table(table: Table, tracking: dict[str, Any], folder: str) -> None:
    import wandb

    cells = columns(table)
    key = hashlib.sha256(table.settings.encode()).hexdigest()[:8]
    run = wandb.init(
        project=tracking["project"],
        group=tracking["group"] or table.name,
        job_type="table",
        mode=tracking["mode"],
        dir=folder,
        id=f"{table.name}-table-{key}",
        name=f"{table.name} {table.settings}",
        resume="allow" if tracking["mode"] == "online" else None,
        reinit="finish_previous",
        settings=quiet_settings(),
    )
    run.log(
        {"table": wandb.Table(columns=list(cells), data=[list(line) for line in zip(*cells.values(), strict=True)])}
    )
    run.log({name: wandb.Image(pixels(picture)) for name, picture in draw(table).items()})
    run.finish()


def pixels(picture: Figure) -> Any:
    """Return a figure as an array of colours [height, width, 4]."""
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
