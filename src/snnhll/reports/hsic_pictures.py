"""Pictures of an HSIC run: who is alike to whom in every layer, and what the layers keep of input and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from torch import Tensor

from snnhll.reports import style


def kernel_matrices(path: Path, matrices: Mapping[int, Tensor], classes: Sequence[str]) -> Path:
    """Draw kernel matrices [1 + layers, B, B] by epoch, a row an epoch, that of the labels first.

    Samples are sorted by class, equally many of each. All layers and epochs share one scale, the labels have their own.
    """
    epochs, layers = sorted(matrices), len(matrices[min(matrices)]) - 1
    picture, panels = style.figure(columns=layers + 1, rows=len(epochs), width=2.6, height=2.5)
    features = [matrices[epoch][1:] for epoch in epochs]
    low = min(0.0, *(float(m.min()) for m in features))
    high = max(float(m.max()) for m in features)
    for row, epoch in enumerate(epochs):
        shown = panels[row * (layers + 1) : (row + 1) * (layers + 1)]
        labels = matrices[epoch][0]
        shown[0].imshow(labels.numpy(), cmap="cividis")
        for panel, matrix in zip(shown[1:], matrices[epoch][1:], strict=True):
            panel.imshow(matrix.numpy(), cmap="cividis", vmin=low, vmax=high)
        for i, panel in enumerate(shown):
            _mark_classes(panel, len(labels), classes if i == 0 else ())
            panel.set_title(
                f"labels, {labels.min():.2g} to {labels.max():.2g}" if i == 0 else f"layer {i}, epoch {epoch + 1}"
            )
    picture.colorbar(panels[-1].images[0], ax=panels, label="k(z, z') of the layers", shrink=0.6, aspect=30)
    return style.save(picture, path / "kernels.png")


def _mark_classes(panel: Axes, samples: int, names: Sequence[str]) -> None:
    """Name the classes at the left edge, where they are few enough to read."""
    panel.grid(False)
    panel.set_xticks([])
    if 0 < len(names) <= 20:
        width = samples / len(names)
        panel.set_yticks([(i + 0.5) * width - 0.5 for i in range(len(names))], names, fontsize=7)
        panel.tick_params(length=0)
    else:
        panel.set_yticks([])


def information_plane(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Draw HSIC(X,Z) against HSIC(Z,Y) of every layer over the epochs and, beside it, what the loss does to pairs.

    rows: lines of metrics.jsonl with `similarities`.
    """
    picture, (plane, slopes) = style.figure(columns=2, width=4.8, height=3.8)
    epochs = [row["epoch"] + 1 for row in rows]
    by_name = {name: [row["similarities"][name] for row in rows] for name in rows[0]["similarities"]}
    for i, _ in enumerate(by_name["hsic_xz"][0]):
        colour, marker = style.COLOURS[i % len(style.COLOURS)], style.MARKERS[i % len(style.MARKERS)]
        x, y = ([values[i] for values in by_name[name]] for name in ("hsic_xz", "hsic_zy"))
        plane.plot(x, y, color=colour, marker=marker, ms=3, lw=1, label=f"layer {i + 1}")
        plane.plot(x[:1], y[:1], marker, color=colour, mfc="white", ms=8)
        plane.plot(x[-1:], y[-1:], marker, color=colour, ms=8)
        for name, line in (("slope_different_class", "-"), ("slope_same_class", ":")):
            slopes.plot(epochs, [values[i] for values in by_name[name]], line, color=colour, marker=marker, ms=3)
    plane.set(xlabel="HSIC(X,Z)", ylabel="HSIC(Z,Y)", title="Information plane; hollow: first epoch, large: last")
    plane.locator_params(nbins=5)
    slopes.axhline(0, color="black", lw=0.8)
    slopes.plot([], [], "-", color="black", label="pairs of two classes")
    slopes.plot([], [], ":", color="black", label="pairs of one class")
    slopes.set(xlabel="epoch", ylabel="mean of dL/dk", title="Below 0: drawn together; above: pushed apart")
    style.whole_numbers(slopes)
    slopes.ticklabel_format(axis="y", scilimits=(-2, 2))
    for panel in (plane, slopes):
        panel.legend(fontsize=8)
    return style.save(picture, path / "information.png")
