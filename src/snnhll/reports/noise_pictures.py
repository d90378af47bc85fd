"""Pictures of robustness: accuracy against the level of noise, runs overlaid, and what the noise looks like.

Lists of overrides, as `snnhll eval` goes through them, differ in the level of the noise, and perhaps in its kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from snnhll.config import NOT_IDENTITY, learner
from snnhll.errors import UserError
from snnhll.reports.groups import grouped
from snnhll.reports.statistics import mean, sample_std


def level_key(choices: Sequence[Sequence[str]]) -> str:
    """Return which override says the level: the last numeric key of the group noise that varies, or the last there is.

    Raises UserError where there is none.
    """
    values: dict[str, set[str]] = {}
    for key, _, value in (override.partition("=") for overrides in choices for override in overrides):
        if key.startswith("noise.") and _is_number(value):
            values.setdefault(key, set()).add(value)
    varying = [key for key in values if len(values[key]) > 1]
    if not values:
        raise UserError("--out: needs levels of noise to draw, as in noise=gaussian noise.std=0,0.1,0.2.")
    return (varying or list(values))[-1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _level(overrides: Sequence[str], key: str) -> float:
    return next(float(value) for name, _, value in (o.partition("=") for o in overrides) if name == key)


def _kind(overrides: Sequence[str], key: str) -> str:
    """Return what a list of overrides says beside the level and beside where things are."""
    return " ".join(o for o in overrides if o.partition("=")[0] not in (key, *NOT_IDENTITY))


def accuracy_against_level(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Draw the test accuracy of runs against the level of noise, a panel a kind of noise.

    Runs that differ in their seed only are one line, with a band of one sample standard deviation. rows: as
    `snnhll.evaluation.evaluations` returns them.
    """
    from snnhll.reports import style

    key = level_key([row["overrides"] for row in rows])
    names = _names([Path(row["run_dir"]) for row in rows])
    reached: dict[str, dict[str, dict[float, list[float]]]] = {}  # by kind, name and level
    for row in rows:
        of_run = reached.setdefault(_kind(row["overrides"], key), {}).setdefault(names[Path(row["run_dir"])], {})
        of_run.setdefault(_level(row["overrides"], key), []).append(100 * row["test_accuracy"])
    picture, panels = style.figure(columns=len(reached), width=5.0, height=3.8)
    for panel, (kind, lines) in zip(panels, reached.items(), strict=True):
        for i, (name, by_level) in enumerate(lines.items()):
            levels = sorted(by_level)
            centre = [mean(by_level[x]) or 0.0 for x in levels]
            spread = [sample_std(by_level[x]) or 0.0 for x in levels]
            colour, marker = style.COLOURS[i % len(style.COLOURS)], style.MARKERS[i % len(style.MARKERS)]
            seeds = len(by_level[levels[0]])
            label = name if seeds == 1 else f"{name} (n={seeds})"
            panel.plot(levels, centre, color=colour, marker=marker, ms=4, label=label)
            low, high = ([c + sign * s for c, s in zip(centre, spread, strict=True)] for sign in (-1, 1))
            panel.fill_between(levels, low, high, color=colour, alpha=0.15, lw=0)
        panel.set(xlabel=key, ylabel="test accuracy in %", title=kind, ylim=(0, 101))
    style.legend_below(picture, *panels[0].get_legend_handles_labels())
    return [style.save(picture, path / f"noise_accuracy.{ending}") for ending in ("svg", "png")]


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return what each run is called: its loss or rule, and where several share that, all that tells them apart."""
    groups = grouped(list(dict.fromkeys(folders)))
    plain = [learner(group.members[0][1]) for group in groups]
    called = plain if len(set(plain)) == len(plain) else [group.name for group in groups]
    return {folder: name for group, name in zip(groups, called, strict=True) for folder, _ in group.members}


@dataclass(frozen=True)
class Example:
    """Some images [N, C, H, W] under one list of overrides, their labels, and what a network says of them, by name."""

    overrides: list[str]
    images: Tensor
    labels: list[str]
    said: list[str]


def examples_of_noise(path: Path, examples: Sequence[Example], network: str) -> Path:
    """Draw the same images under every list of overrides: a column a level, rows for every kind of noise.

    Below each stands what the network, called `network`, says, in red where it is wrong.
    """
    from snnhll.reports import style

    key = level_key([example.overrides for example in examples])
    by_kind: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: _level(e.overrides, key)):
        by_kind.setdefault(_kind(example.overrides, key), []).append(example)
    count, columns = len(examples[0].labels), max(map(len, by_kind.values()))
    picture, panels = style.figure(columns=columns, rows=count * len(by_kind), width=1.2, height=1.35)
    for k, (kind, levels) in enumerate(by_kind.items()):
        for column, example in enumerate(levels):
            for i, (image, label, said) in enumerate(zip(example.images, example.labels, example.said, strict=True)):
                panel = panels[(k * count + i) * columns + column]
                panel.imshow(image.clamp(0, 1).movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
                panel.set(xticks=[], yticks=[])
                panel.set_xlabel(said, fontsize=7, color="black" if said == label else style.COLOURS[5], labelpad=2)
                if i == 0:
                    panel.set_title(f"{key.removeprefix('noise.')} {_level(example.overrides, key):g}", fontsize=8)
                if i == 0 and column == 0:
                    panel.set_ylabel(kind.replace(" ", "\n"), fontsize=8)
    picture.suptitle(f"below: what {network} says", fontsize=7)
    return style.save(picture, path / "noise_examples.png")
