"""TensorBoard mirrors a run; what an interrupted process wrote beyond its checkpoint gives way to the resumed one."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from snnhll.results import Result
from snnhll.tracking.tensorboard import TensorBoardTracker

RESULT = Result("finished", "", [], "digits", "mlp", "local", "pred", 0, 3, "", test_accuracy=0.875)


def row(epoch: int, accuracy: float) -> dict[str, Any]:
    return {"epoch": epoch, "val_accuracy": accuracy, "firing_rates": [0.25, 0.5], "losses": {"layer1/pred": 2.0}}


def read(run: Path) -> Any:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


def values(run: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(run).Scalars(name)]


def test_every_number_of_an_epoch_is_a_scalar(tmp_path: Path) -> None:
    tracker = TensorBoardTracker()
    tracker.start({"seed": 0}, tmp_path)
    tracker.epoch(row(0, 0.5))
    tracker.epoch(row(1, 0.75))
    tracker.finish(RESULT, [])
    assert values(tmp_path, "val_accuracy") == [(0, 0.5), (1, 0.75)]
    assert values(tmp_path, "firing_rates/2") == [(0, 0.5), (1, 0.5)]
    assert values(tmp_path, "losses/layer1/pred") == [(0, 2.0), (1, 2.0)]
    assert values(tmp_path, "result/test_accuracy") == [(3, 0.875)]


def test_a_resumed_run_replaces_the_epochs_it_trains_again(tmp_path: Path) -> None:
    killed = TensorBoardTracker()
    killed.start({}, tmp_path)
    for epoch in range(3):
        killed.epoch(row(epoch, 0.125 * epoch))
    resumed = TensorBoardTracker()
    resumed.start({}, tmp_path)
    for epoch in (2, 3):
        resumed.epoch(row(epoch, 0.5 + 0.125 * epoch))
    assert values(tmp_path, "val_accuracy") == [(0, 0.0), (1, 0.125), (2, 0.75), (3, 0.875)]


def test_a_missing_tensorboard_warns_once_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    tracker = TensorBoardTracker()
    tracker.start({}, tmp_path)
    with pytest.warns(UserWarning, match=r"pip install 'snnhll\[tensorboard\]'"):
        tracker.epoch(row(0, 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.epoch(row(1, 0.5))
        tracker.finish(RESULT, [])
    assert list(tmp_path.iterdir()) == []
