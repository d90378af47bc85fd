"""The pictures of one run: learning curves, activity per layer, confusion matrix, a spike raster with membranes; the
weights of the losses where they are learned; kernel matrices and the information plane where losses compare samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnhll.losses.options import loss_options
from snnhll.metrics import Evaluation
from snnhll.networks.network import Network
from snnhll.results import RunFolder

MARKED_EPOCHS = 10
RASTER_NEURONS = 60
TRACED_NEURONS = 3


def draw_run(
    folder: RunFolder,
    test: Evaluation,
    network: Network,
    images: Tensor,
    classes: Sequence[str],
    similarities: Mapping[int, Tensor],
    loss: Mapping[str, Any],
) -> list[Path]:
    """Write all pictures of a finished run into its folder and return their paths. images: some test images [B, C, H,
    W]. similarities: kernel matrices by epoch, as `RunState` keeps them. loss: that part of the configuration."""
    rows = folder.metrics()
    network.eval()
    pictures = [
        _curves(folder.path, rows),
        _activity(folder.path, rows),
        _confusion(folder.path, test.confusion, classes),
        _raster(folder.path, network, images),
        *_loss_weights(folder.path, rows, loss),
    ]
    return pictures + (_similarities(folder.path, rows, similarities, classes) if similarities else [])


def _similarities(
    path: Path, rows: list[dict[str, Any]], similarities: Mapping[int, Tensor], classes: Sequence[str]
) -> list[Path]:
    from snnhll.reports.hsic_pictures import information_plane, kernel_matrices

    followed = [row for row in rows if "similarities" in row]
    return [kernel_matrices(path, similarities, classes), information_plane(path, followed)]


def _curves(path: Path, rows: list[dict[str, Any]]) -> Path:
    from snnhll.reports import style

    picture, (accuracy, losses) = style.figure(columns=2)
    epochs = [row["epoch"] + 1 for row in rows]
    accuracy.plot(epochs, [100 * row["train_accuracy"] for row in rows], color=style.COLOURS[0], label="training")
    if rows[0]["val_accuracy"] is not None:
        accuracy.plot(epochs, [100 * row["val_accuracy"] for row in rows], color=style.COLOURS[1], label="validation")
    for i, _ in enumerate(rows[0]["layer_val_accuracy"][:-1]):
        values = [row["layer_val_accuracy"][i] for row in rows]
        if values[0] is not None:
            colour = style.COLOURS[(i + 2) % len(style.COLOURS)]
            accuracy.plot(epochs, [100 * v for v in values], ":", color=colour, label=f"head of layer {i + 1}")
    accuracy.set(xlabel="epoch", ylabel="accuracy in %", title="Accuracy")
    for i, name in enumerate(rows[0]["losses"]):
        dash = ("-", "--", "-.", ":")[i // len(style.COLOURS) % 4]
        colour = style.COLOURS[i % len(style.COLOURS)]
        losses.plot(epochs, [row["losses"][name] for row in rows], dash, color=colour, label=name)
    losses.set(xlabel="epoch", ylabel="mean over steps", title="Losses", yscale="log")
    for panel in (accuracy, losses):
        style.whole_numbers(panel)
        for line in panel.lines if len(rows) <= MARKED_EPOCHS else ():
            line.set(marker="o", markersize=3)  # a line of a single point leaves no other trace
    accuracy.legend()
    losses.legend(fontsize=8, ncols=2)
    return style.save(picture, path / "curves.png")


def _activity(path: Path, rows: list[dict[str, Any]]) -> Path:
    from snnhll.reports import style

    picture, panels = style.figure(columns=3, width=4.0)
    titles = {
        "firing_rates": ("Firing rate", "spikes per step"),
        "silent_share": ("Silent neurons", "share"),
        "saturated_share": ("Saturated neurons", "share"),
    }
    for panel, (key, (title, unit)) in zip(panels, titles.items(), strict=True):
        for i, _ in enumerate(rows[0][key]):
            colour, marker = style.COLOURS[i % len(style.COLOURS)], style.MARKERS[i % len(style.MARKERS)]
            values = [row[key][i] for row in rows]
            panel.plot(
                [row["epoch"] + 1 for row in rows], values, color=colour, marker=marker, ms=3, label=f"layer {i + 1}"
            )
        panel.set(xlabel="epoch", ylabel=unit, title=title)
        style.whole_numbers(panel)
        panel.set_ylim(bottom=0)
    panels[0].legend()
    return style.save(picture, path / "activity.png")


def _confusion(path: Path, table: list[list[int]], classes: Sequence[str]) -> Path:
    from snnhll.reports import style

    side = min(0.35 * len(classes) + 2, 12)
    picture, (panel,) = style.figure(width=side + 0.8, height=side)
    shares = [[100 * count / max(sum(row), 1) for count in row] for row in table]
    image = panel.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    panel.grid(False)
    picture.colorbar(image, label="% of the class")
    if len(classes) <= 20:
        panel.set_xticks(range(len(classes)), classes, rotation=90)
        panel.set_yticks(range(len(classes)), classes)
        for i, row in enumerate(table):
            for j, count in enumerate(row):
                if count:
                    ink = "black" if shares[i][j] > 50 else "white"
                    panel.text(j, i, str(count), ha="center", va="center", fontsize=7, color=ink)
    panel.set(xlabel="predicted", ylabel="true", title="Test images")
    return style.save(picture, path / "confusion.png")


def _raster(path: Path, network: Network, images: Tensor) -> Path:
    """Draw the spikes of some neurons of each layer for one image, busiest first, and below them membrane traces of a
    few."""
    from snnhll.reports import style

    traces = [
        (u[:, 0].flatten(1).float().cpu(), s[:, 0].flatten(1).float().cpu()) for u, s in network.traces(images[:1])
    ]
    picture, panels = style.figure(columns=len(traces), rows=2, width=3.4, height=2.8)
    for i, (membrane, spikes) in enumerate(traces):
        shown = _spread(spikes.mean(0))
        step, neuron = spikes[:, shown].nonzero(as_tuple=True)
        top, bottom = panels[i], panels[len(traces) + i]
        top.scatter(step + 1, neuron, s=6, marker="|", color=style.COLOURS[0])
        top.set(title=f"layer {i + 1}", xlabel="time step", xlim=(0.5, len(spikes) + 0.5))
        for j, unit in enumerate(shown[len(shown) // (2 * TRACED_NEURONS) :: max(len(shown) // TRACED_NEURONS, 1)]):
            bottom.plot(range(1, len(spikes) + 1), membrane[:, unit], "o-", ms=3, color=style.COLOURS[j + 1])
        threshold = network.blocks[i].neuron.threshold
        if threshold is not None:
            bottom.axhline(threshold, color="black", lw=0.8, ls="--")
        bottom.set(xlabel="time step", xlim=(0.5, len(spikes) + 0.5))
        for panel in (top, bottom):
            style.whole_numbers(panel)
        style.whole_numbers(top, "y")
    panels[0].set_ylabel("neurons that fire, busiest first")
    panels[len(traces)].set_ylabel("membrane potential")
    return style.save(picture, path / "raster.png")


def _loss_weights(path: Path, rows: list[dict[str, Any]], loss: Mapping[str, Any]) -> list[Path]:
    """Draw the weight of each term of each layer over the epochs; nothing where they stay as they are configured.

    loss: that part of the configuration.
    """
    from snnhll.reports import style

    names = list(rows[0]["loss_weights"])
    if not names or loss_options(loss).weighting is None:
        return []
    picture, (panel,) = style.figure()
    terms = list(dict.fromkeys(name.partition("/")[2] for name in names))
    for name in names:
        layer, _, term = name.partition("/")
        values = [row["loss_weights"][name] for row in rows]
        place = int(layer.removeprefix("layer")) - 1
        panel.plot(
            [row["epoch"] + 1 for row in rows],
            values,
            color=style.COLOURS[terms.index(term) % len(style.COLOURS)],
            marker=style.MARKERS[place % len(style.MARKERS)],
            ms=4,
            markevery=max(len(rows) // 8, 1),
            label=name,
        )
    panel.set(xlabel="epoch", ylabel="weight", yscale="log", title="Loss weights")
    style.whole_numbers(panel)
    picture.legend(loc="outside right upper", fontsize=8)
    return [style.save(picture, path / "loss_weights.png")]


def _spread(rates: Tensor) -> Tensor:
    """Return the indices of neurons that fire, spread evenly from the busiest to the quietest; any neurons if none
    does."""
    order = rates.argsort(descending=True)
    active = order[: max(int((rates > 0).sum()), 1)]
    places = torch.linspace(0, len(active) - 1, min(RASTER_NEURONS, len(active))).long()
    return active[places]
