"""What a run says of itself at its end."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from snnhll.results import Result
from snnhll.tracking.console import ConsoleTracker


def last_lines(**found: Any) -> list[str]:
    """Return what is printed at the end of a run that found this."""
    about: dict[str, Any] = dict.fromkeys(("config_hash", "data", "architecture", "rule", "loss"), "")
    cost = {"wall_seconds": 2.0, "synaptic_operations_per_image": 1e5, "energy_nj_per_image": 9.0}
    result = Result(status="finished", overrides=[], seed=0, epochs=1, run_dir="runs/a", **about, **cost, **found)
    out = io.StringIO()
    ConsoleTracker(Console(file=out, soft_wrap=True)).finish(result, [])
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            {"test_accuracy": 0.8809, "test_accuracy_best_val": 0.8812, "val_accuracy": 0.8821},
            "test accuracy 88.09% after the last epoch (88.12% with the weights of the epoch best on validation); "
            "validation 88.21%",
        ),
        ({"test_accuracy": 0.8809}, "test accuracy 88.09% after the last epoch"),
    ],
)
def test_the_end_says_which_weights_each_accuracy_is_of(found: dict[str, float], line: str) -> None:
    assert last_lines(**found)[0] == line
