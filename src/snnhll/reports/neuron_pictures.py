"""What neurons do: the current that one receives, its membrane potential and its spikes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snnhll.neurons.recording import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3


def draw_neurons(path: Path, recordings: Sequence[tuple[str, Recording]]) -> Path:
    """Draw a panel a neuron, with its title; returns the path."""
    from snnhll.reports import style

    columns = min(COLUMNS, len(recordings))
    rows = -(-len(recordings) // columns)
    width, height = (3.6, 1.2) if len(recordings) > 1 else (6.5, 1.8)
    picture, panels = style.figure(columns, 2 * rows, width, height, heights=[3, 1] * rows)
    for i in range(columns * rows):
        row, column = divmod(i, columns)
        membrane, current = (panels[(2 * row + part) * columns + column] for part in range(2))
        if i >= len(recordings):
            membrane.set_axis_off()
            current.set_axis_off()
            continue
        title, recording = recordings[i]
        membrane.set_title(title)
        _trace(membrane, recording, "membrane potential" if column == 0 else "")
        current.step(recording.times, recording.current, where="post", color=style.COLOURS[1], lw=1)
        current.set(xlabel=f"time in {recording.time}s" if recording.time != "ms" else "time in ms")
        current.set_ylabel(_labelled("current" if column == 0 else "", recording.current_unit), fontsize=8)
    return style.save(picture, path)


def _trace(panel: Axes, recording: Recording, label: str) -> None:
    """Draw the membrane potential, its threshold and, above both, the spikes."""
    from snnhll.reports import style

    panel.plot(recording.times, recording.membrane, color=style.COLOURS[0], lw=1)
    if recording.threshold is not None:
        panel.axhline(recording.threshold, color="black", lw=0.6, ls="--")
    above = panel.get_xaxis_transform()
    panel.vlines(recording.spike_times, 0.93, 1.0, transform=above, color=style.COLOURS[5], lw=1)
    low, high = panel.get_ylim()
    panel.set_ylim(low, high + 0.1 * (high - low))
    panel.tick_params(labelbottom=False)
    panel.set_ylabel(_labelled(label, recording.membrane_unit), fontsize=8)


def _labelled(label: str, unit: str) -> str:
    return f"{label}\nin {unit}" if label and unit else label or unit
