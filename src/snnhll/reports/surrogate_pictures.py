"""Surrogate derivatives, as the article on surrogate gradients plots them: against the distance to the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch

from snnhll.surrogates.surrogate import Surrogate

REACH = 2.5
FACTORS = ((0.5, ":"), (1.0, "-"), (2.0, "--"))


def draw_surrogates(path: Path, surrogates: Sequence[Surrogate]) -> Path:
    """Draw a panel a surrogate: the step of the forward pass and the derivative of the backward one, with its parameter
    as it is, halved and doubled. Returns the path."""
    from snnhll.reports import style

    columns = min(3, len(surrogates))
    rows = -(-len(surrogates) // columns)
    picture, panels = style.figure(columns, rows, width=3.4, height=2.6)
    x = torch.linspace(-REACH, REACH, 1001, dtype=torch.float64)
    for panel, surrogate in zip(panels, surrogates, strict=False):
        panel.plot(x, (x >= 0).double(), color="#808080", lw=1)
        (parameter,) = (field.name for field in fields(cast(Any, surrogate)))
        for factor, line in FACTORS:
            shaped = cast(Surrogate, replace(cast(Any, surrogate), **{parameter: factor * surrogate.parameter}))
            label = f"{parameter} = {shaped.parameter:g}"
            panel.plot(
                x, shaped.derivative(x), line, color=style.COLOURS[0], lw=1.5 if factor == 1 else 0.9, label=label
            )
        panel.set(title=surrogate.name, xlabel="u - v_th", xlim=(-REACH, REACH))
        panel.legend(fontsize=7)
    for panel in panels[len(surrogates) :]:
        panel.set_axis_off()
    panels[0].set_ylabel("derivative; grey: the spike")
    return style.save(picture, path)
