"""Which path runs, and that a fallback is said once and computes the same."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from snnhll.ops import LIFSettings, dispatch, lif_pass, lif_sequence, moments, reference, which
from snnhll.surrogates.exponential import Exponential

NEURON = LIFSettings(decay=0.5, v_th=1.0, reset="soft")


@dataclass(frozen=True)
class Doubled(Exponential):
    """A user's own surrogate, which inherits a name that has a compiled form."""

    def derivative(self, x: Tensor) -> Tensor:
        return 2 * super().derivative(x)


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> Iterator[None]:
    dispatch._notice.cache_clear()
    yield
    dispatch._notice.cache_clear()


def test_importing_ops_does_not_import_numba() -> None:
    code = "import sys, snnhll.ops; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_own_surrogate_runs_the_reference_and_says_so_once() -> None:
    z = torch.randn(3, 2, 50)
    with pytest.warns(RuntimeWarning, match="surrogate Doubled has no compiled form"):
        first = lif_pass(z, 3, NEURON, Doubled())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lif_pass(z, 3, NEURON, Doubled())
    assert which(z, Doubled()) == "reference: surrogate Doubled has no compiled form"
    plain = lif_pass(z, 3, NEURON, Exponential())
    assert first.slope is not None
    assert plain.slope is not None
    torch.testing.assert_close(first.slope, 2 * plain.slope)


def test_missing_numba_runs_the_reference_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_import_error", lambda path: "numba does not import (no such module)")
    z = torch.randn(3, 2, 50)
    with pytest.warns(RuntimeWarning, match="numba does not import"):
        got = lif_pass(z, 3, NEURON, Exponential())
    assert torch.equal(got.spikes, reference.lif_pass(z, 3, NEURON, Exponential()).spikes)
    assert which(z) == "reference: numba does not import (no such module)"


def test_other_memory_order_runs_the_reference_and_says_so() -> None:
    z = torch.randn(3, 2, 5, 4, 4)
    with pytest.warns(RuntimeWarning, match="channels_last"):
        mean, _ = moments(z)
    torch.testing.assert_close(mean, z.movedim(2, 0).flatten(1).mean(1))
    assert which(z).startswith("reference")


def test_other_precision_is_what_the_user_asked_for() -> None:
    z = torch.randn(3, 2, 50, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = lif_pass(z, 3, NEURON, Exponential())
        lif_sequence(z, 3, NEURON, Exponential(), True, True)
    assert got.rate.dtype == torch.float64
    assert which(z) == "reference: no fast path for torch.float64"
