"""Uncertainty weighting against the paper's objective, differentiated by autograd."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.losses.weighting.uncertainty import Uncertainty

START = {"a": 0.9, "b": 0.1}
losses = st.lists(st.floats(1e-3, 1e4), min_size=2, max_size=2)


def never() -> torch.Tensor:
    raise AssertionError("uncertainty needs no gradient of the layer")


@given(losses, st.lists(st.floats(-3, 8), min_size=2, max_size=2))
def test_the_gradient_is_that_of_the_log_variance(L: list[float], s: list[float]) -> None:
    log_variance = torch.tensor(s, dtype=torch.float64, requires_grad=True)
    found = torch.tensor(L, dtype=torch.float64)
    sigma = torch.exp(log_variance / 2)
    (expected,) = torch.autograd.grad((found / (2 * sigma**2) + sigma.log()).sum(), log_variance)
    torch.testing.assert_close(Uncertainty.gradient(found, log_variance.detach()), expected)


@given(losses, losses)
def test_it_starts_at_rest_and_then_descends(first: list[float], second: list[float]) -> None:
    weighting = Uncertainty(START, lr=0.1).double()
    weighting.adapt(torch.tensor(first, dtype=torch.float64), never)
    assert weighting.current.tolist() == pytest.approx([1 / (2 * L) for L in first])
    weighting.adapt(torch.tensor(second, dtype=torch.float64), never)
    s = [math.log(a) - 0.1 * 0.5 * (1 - b / a) for a, b in zip(first, second, strict=True)]
    s = [sorted((math.log(a), x, math.log(b)))[1] for a, x, b in zip(first, s, second, strict=True)]  # not past log b
    assert weighting.log_variance.tolist() == pytest.approx(s)
    assert weighting.current.tolist() == pytest.approx([0.5 * math.exp(-x) for x in s])


def test_the_weights_follow_the_losses_down_to_equal_shares() -> None:
    weighting = Uncertainty(START, lr=0.1)
    weighting.adapt(torch.tensor([20.0, 4000.0]), never)
    for _ in range(500):
        weighting.adapt(torch.tensor([2.0, 1000.0]), never)
    assert (weighting.current * torch.tensor([2.0, 1000.0])).tolist() == pytest.approx([0.5, 0.5], rel=1e-3)


def test_a_loss_of_zero_is_waited_out() -> None:
    weighting = Uncertainty(START)
    weighting.adapt(torch.tensor([0.0, 1.0]), never)
    assert weighting.current.tolist() == [0, 0.5]
    weighting.adapt(torch.tensor([1e-3, 1.0]), never)
    assert weighting.current.tolist() == pytest.approx([500, 0.5])


@pytest.mark.parametrize("first", [1e-20, 1e-9, 1e-4])
def test_a_loss_far_above_its_first_value_is_not_switched_off(first: float) -> None:
    weighting = Uncertainty(START)
    weighting.adapt(torch.tensor([first, 1.0]), never)
    for _ in range(100):
        weighting.adapt(torch.tensor([0.3, 1.0]), never)
    assert weighting.current.tolist() == pytest.approx([0.5 / 0.3, 0.5])
