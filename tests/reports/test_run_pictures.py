"""The picture of learned loss weights; the other pictures of a run are drawn by runs of the command line's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnhll.reports.run_pictures import _loss_weights


def rows(*weights: float) -> list[dict[str, Any]]:
    return [
        {"epoch": i, "loss_weights": {"layer1/pred": 1 - w, "layer1/sim": w, "layer2/pred": 1 - w, "layer2/sim": w}}
        for i, w in enumerate(weights)
    ]


def test_weights_that_move_are_drawn_and_others_are_not(tmp_path: Path) -> None:
    assert _loss_weights(tmp_path, rows(0.01, 0.01, 0.01)) == []
    assert _loss_weights(tmp_path, [{"epoch": 0, "loss_weights": {}}] * 2) == []
    (picture,) = _loss_weights(tmp_path, rows(0.5, 0.1, 0.02))
    assert picture.read_bytes().startswith(b"\x89PNG")
