"""The floor against counts by hand."""

from __future__ import annotations

import pytest

from snnhll.bench import floor
from snnhll.bench.floor import Operations, Probe, Rates, operations, seconds
from snnhll.bench.works import WORKS, Work


def test_operations_of_a_convolution_net_counted_by_hand() -> None:
    work = Work("hand", "4C3-6C3-P2-FC5-FC10", (2, 6, 6), "batch", "digits")
    T, batch = 7, 3
    first = 4 * 6 * 6 * 2 * 9  # products of one pass over one image
    second = 6 * 6 * 6 * 4 * 9
    hidden = 5 * 6 * 3 * 3
    readout = 10 * 5
    conv = first * (1 + 1) + second * (T + 1)  # constant input once, then T passes; one weight gradient each
    linear = hidden * (T + 1) + readout * (1 + 1)
    assert operations(work, T, batch) == Operations(2 * batch * conv, 2 * batch * linear)


def test_the_first_layer_of_an_mlp_runs_once_whatever_the_steps() -> None:
    mlp = WORKS["mlp"]
    assert operations(mlp, 10, 64) == operations(mlp, 40, 64)
    assert operations(mlp, 10, 64) == Operations(0, 2 * 64 * 2 * (784 * 1024 + 1024 * 10))


def test_operations_grow_in_proportion_to_the_batch() -> None:
    small, large = (operations(WORKS["conv"], 10, batch) for batch in (16, 64))
    assert (large.conv, large.linear) == (4 * small.conv, 4 * small.linear)


def test_seconds_adds_the_time_of_each_kind_at_its_own_rate() -> None:
    assert seconds(Operations(6e9, 1e9), Rates(2e9, 4e9)) == pytest.approx(3.25)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rates_are_operations_over_the_time_of_one_call(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def half_a_second(call: object, device: str) -> float:
        called.append(call())  # type: ignore[operator]
        return 0.5

    monkeypatch.setattr(floor, "_median_time", half_a_second)
    rates = floor.measure(precision, probe=Probe(batch=2, channels=4, side=6, matrix=8))
    assert [tuple(out.shape) for out in called] == [(2, 4, 6, 6), (8, 8)]
    assert rates == Rates(2 * (2 * 4 * 6 * 6) * 4 * 9 / 0.5, 2 * 8**3 / 0.5)
