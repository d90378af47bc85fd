"""The pictures of a run show what there is, be it one epoch or two steps; the weights of the loss where they are
learned."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from snnhll.assemble import Problem
from snnhll.config import compose
from snnhll.reports.figures import learning_curves
from snnhll.reports.hsic_pictures import information_plane
from snnhll.reports.run_pictures import _activity, _curves, _loss_weights, _raster
from snnhll.reports.tables import of_plan
from snnhll.rules.rule import Rule
from snnhll.sweeps.jobs import Plan


def rows(*weights: float) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl, one for each weight that the similarity loss has."""
    shares = {key: [0.1, 0.2] for key in ("firing_rates", "silent_share", "saturated_share")}
    seen = ("hsic_xz", "hsic_zy", "slope_different_class", "slope_same_class")
    return [
        {
            "epoch": i,
            "train_accuracy": 0.5,
            "val_accuracy": 0.4,
            "layer_val_accuracy": [0.3, 0.4],
            "losses": {"layer1/pred": 2.0, "layer1/sim": 0.5},
            "similarities": {name: [0.1, 0.2] for name in seen},
            "loss_weights": {f"layer{k}/{term}": w for k in (1, 2) for term, w in (("pred", 1 - sim), ("sim", sim))},
        }
        | shares
        for i, sim in enumerate(weights)
    ]


def loss(weighting: str, **weights: float) -> dict[str, Any]:
    return {
        "name": "a",
        "terms": {"pred": {}, "sim": {}},
        "weights": weights,
        "weighting": weighting,
        "weightings": {"scale": {}},
    }


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.1, 0.02)])
def test_weights_that_are_learned_are_drawn_be_it_for_one_epoch(
    drawn: list[Figure], tmp_path: Path, weights: tuple[float, ...]
) -> None:
    assert _loss_weights(tmp_path, rows(*weights), loss("scale", pred=0.5, sim=0.5)) == [tmp_path / "loss_weights.png"]
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines}
    assert lines["layer2/sim"].get_ydata() == pytest.approx(weights)
    assert all(line.get_marker() != "None" for line in lines.values())


def test_weights_that_stay_are_not_drawn(tmp_path: Path) -> None:
    assert _loss_weights(tmp_path, rows(0.01, 0.01), loss("fixed", pred=0.99, sim=0.01)) == []
    assert _loss_weights(tmp_path, rows(0.01, 0.01), loss("scale", pred=1.0, sim=0.0)) == []
    without = [row | {"loss_weights": {}} for row in rows(0.5, 0.1)]
    assert _loss_weights(tmp_path, without, loss("scale", pred=0.5, sim=0.5)) == []


def shown_ticks(axis: Axis) -> list[float]:
    low, high = sorted(axis.get_view_interval())
    return [float(tick) for tick in axis.get_majorticklocs() if low <= tick <= high]


@pytest.mark.parametrize(
    ("draw", "panels"),
    [(_curves, (0, 1)), (_activity, (0, 1, 2)), (information_plane, (1,))],
    ids=["curves", "activity", "information plane"],
)
def test_one_epoch_leaves_a_mark_at_a_whole_number(
    drawn: list[Figure], tmp_path: Path, draw: Callable[[Path, Any], Path], panels: tuple[int, ...]
) -> None:
    draw(tmp_path, rows(0.5))
    for panel in (drawn[0].axes[i] for i in panels):
        assert shown_ticks(panel.xaxis) == [1.0]
        points = [line for line in panel.lines if len(line.get_xdata()) == 1]
        assert points
        assert all(line.get_marker() not in ("None", "") for line in points)


def test_many_epochs_are_plain_lines(drawn: list[Figure], tmp_path: Path) -> None:
    _curves(tmp_path, rows(*[0.5] * 40))
    assert {line.get_marker() for panel in drawn[0].axes for line in panel.lines} == {"None"}


def test_learning_curves_of_one_epoch_have_one_tick(sweep: Plan, finish: Callable[..., Path]) -> None:
    finish(sweep.jobs[0], 0.9)
    table = of_plan(sweep)
    row = table.rows[0]
    row.runs = [replace(run, epochs=run.epochs[:1]) for run in row.runs]
    picture = learning_curves(table)
    assert picture is not None
    assert shown_ticks(picture.axes[0].xaxis) == [1.0]


def test_the_raster_counts_steps_and_neurons_in_whole_numbers(
    drawn: list[Figure], tmp_path: Path, make_rule: Callable[..., Rule], problem: Problem
) -> None:
    network = make_rule("architecture.spec=FC3-FC2-n", "trainer.steps=2").network.eval()
    _raster(tmp_path, network, torch.ones(1, *problem.shape))
    top, bottom = drawn[0].axes[:2], drawn[0].axes[2:]
    assert [shown_ticks(panel.xaxis) for panel in (*top, *bottom)] == [[1.0, 2.0]] * 4
    assert all(tick.is_integer() for panel in top for tick in shown_ticks(panel.yaxis))


WITHOUT_YAML = """
import json, sys
sys.modules.update(dict.fromkeys(("yaml", "omegaconf", "hydra")))
from snnhll.experiment import run
from snnhll.tracking.tracker import Tracker
print(*run(json.loads(sys.argv[1]), [], Tracker()).pictures)
"""


def test_a_machine_that_reads_no_yaml_draws_its_runs(tmp_path: Path) -> None:
    """One with torch and matplotlib, and runs that were composed elsewhere."""
    tiny = ["architecture.spec=FC3-n", "trainer.epochs=1", "trainer.steps=2", "data.limit=8", "threads=1"]
    config = compose([*tiny, "loss=pred_sim", "loss.weighting=scale", "tracking=none", f"output_dir={tmp_path}"])
    words = [sys.executable, "-c", WITHOUT_YAML, json.dumps(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["curves.png", "activity.png", "confusion.png", "raster.png", "loss_weights.png"]
