"""Interleaving, medians, failures, the JSON contract, and a real process."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnhll.bench.contest import Measurement
from snnhll.bench.rounds import Row, WorkerError, in_fresh_process, interleave
from snnhll.bench.works import Work

MLP = Work("tiny mlp", "64-64-32-10", (1, 8, 8), "none", "digits")
KEYS = {"work", "framework", "setting", "T", "batch", "samples_per_second", "peak_memory_bytes", "rounds"}


def measurement(setting: str = "bptt fp32", framework: str = "snnhll") -> Measurement:
    return Measurement(MLP, framework, setting, 2, 4, steps=1)


def found(speed: float, peak: int = 100) -> dict[str, Any]:
    return {"samples_per_second": speed, "peak_memory_bytes": peak, "baseline": "built model"}


def test_every_round_measures_everything_once_in_turn() -> None:
    order: list[str] = []

    def run(request: dict[str, Any]) -> dict[str, Any]:
        order.append(request["measurement"]["setting"])
        return found(1.0)

    settings = ["pred_sim rate fp32", "bptt fp32", "pred_sim final fp32"]
    rows = interleave([measurement(s) for s in settings], 3, run)
    assert order == settings * 3
    assert [len(row.samples_per_second) for row in rows] == [3, 3, 3]


@given(st.lists(st.tuples(st.floats(1, 1e6), st.integers(0, 10**10)), min_size=1, max_size=7))
def test_a_row_holds_the_medians_and_the_extremes_of_its_rounds(rounds: list[tuple[float, int]]) -> None:
    answers = iter(rounds)
    (row,) = interleave([measurement()], len(rounds), lambda request: found(*next(answers)))
    speeds, peaks = sorted(s for s, _ in rounds), sorted(p for _, p in rounds)
    middle, odd = len(rounds) // 2, len(rounds) % 2
    assert row.spread == (speeds[0], speeds[-1])
    assert row.speed == pytest.approx(speeds[middle] if odd else (speeds[middle - 1] + speeds[middle]) / 2)
    assert row.peak == (peaks[middle] if odd else round((peaks[middle - 1] + peaks[middle]) / 2))


def test_contract_has_exactly_the_promised_keys() -> None:
    row = Row(measurement(), [10.0, 30.0, 20.0], [5, 7, 6])
    contract = row.contract()
    assert set(contract) == KEYS
    assert contract["samples_per_second"] == 20.0
    assert contract["peak_memory_bytes"] == 6
    assert contract["rounds"] == 3
    assert (contract["work"], contract["framework"], contract["setting"]) == ("tiny mlp", "snnhll", "bptt fp32")


def test_a_failure_is_kept_is_not_tried_again_and_stops_nothing_else() -> None:
    calls: list[str] = []
    lines: list[str] = []

    def run(request: dict[str, Any]) -> dict[str, Any]:
        setting = request["measurement"]["setting"]
        calls.append(setting)
        if setting == "bptt fp32":
            raise WorkerError("RuntimeError: no")
        return found(2.0)

    rows = interleave([measurement(), measurement("pred_sim rate fp32")], 2, run, lines.append)
    assert calls == ["bptt fp32", "pred_sim rate fp32", "pred_sim rate fp32"]
    assert rows[0].failure == "RuntimeError: no"
    assert rows[1].samples_per_second == [2.0, 2.0]
    assert "failed, RuntimeError: no" in lines[0]


def test_a_fresh_process_answers_a_real_request() -> None:
    answer = in_fresh_process(measurement("pred_sim rate fp32").request(), 1, pytest.fail)
    assert answer["samples_per_second"] > 0
    assert answer["peak_memory_bytes"] >= 0
    assert answer["baseline"] in ("built model", "earlier peak")
    assert answer["steps"] == 1


def test_a_process_that_fails_leaves_its_last_line() -> None:
    with pytest.raises(WorkerError, match=r"^KeyError: 'fp8'$"):
        in_fresh_process(measurement("bptt fp8").request(), 1, pytest.fail)
