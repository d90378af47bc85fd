"""Surrogate derivatives: the printed formulas, and the exact step they stand behind."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.surrogates.arctangent import Arctangent
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential
from snnhll.surrogates.sigmoid import Sigmoid
from snnhll.surrogates.surrogate import Surrogate, spike
from snnhll.surrogates.triangle import Triangle


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


FORMULAS: dict[type, Callable[[float, float], float]] = {
    Sigmoid: lambda x, b: b * logistic(b * x) * logistic(-b * x),
    Boxcar: lambda x, g: 1 / (2 * g) if -g <= x <= g else 0.0,
    Triangle: lambda x, w: (w - abs(x)) / w**2 if abs(x) < w else 0.0,
    Exponential: lambda x, a: a * math.exp(-a * abs(x)),
    Arctangent: lambda x, a: a / 2 / (1 + (math.pi / 2 * a * x) ** 2),
}
AREAS = {Sigmoid: 1.0, Boxcar: 1.0, Triangle: 1.0, Exponential: 2.0, Arctangent: 1.0}
EVERY = pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.name)

positions = st.floats(-20, 20)
parameters = st.floats(0.05, 10)


def derivative(surrogate: Surrogate, x: float) -> float:
    return surrogate.derivative(torch.tensor(x, dtype=torch.float64)).item()


@EVERY
@given(x=positions, p=parameters)
def test_derivative_is_the_formula(kind: type, x: float, p: float) -> None:
    """To float64's precision at the peak: far out, 1 - σ(βx) loses digits."""
    assert derivative(kind(p), x) == pytest.approx(FORMULAS[kind](x, p), rel=1e-12, abs=1e-15 * p)


@EVERY
@given(x=positions, p=parameters)
def test_derivative_is_even_and_highest_at_the_threshold(kind: type, x: float, p: float) -> None:
    here = derivative(kind(p), x)
    assert here == pytest.approx(derivative(kind(p), -x), rel=1e-12, abs=1e-15 * p)
    assert 0 <= here <= derivative(kind(p), 0.0)


@EVERY
def test_area(kind: type) -> None:
    """The trapezoid rule on a fine grid; the arctangent's tails are added from its antiderivative."""
    x = torch.linspace(-50, 50, 2_000_001, dtype=torch.float64)
    tails = 1 - 2 / math.pi * math.atan(math.pi / 2 * 2.0 * 50) if kind is Arctangent else 0.0
    area = torch.trapezoid(kind(2.0).derivative(x), x).item() + tails
    assert area == pytest.approx(AREAS[kind], abs=1e-4)


@EVERY
def test_parameter_is_the_one_argument(kind: type) -> None:
    assert kind(0.7).parameter == 0.7


def test_boxcar_includes_its_edge() -> None:
    assert derivative(Boxcar(0.5), 0.5) == 1.0
    assert derivative(Boxcar(0.5), math.nextafter(0.5, 1)) == 0.0


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_forward_is_the_exact_step(kind: type, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    x = torch.tensor([-3.0, -tiny, -0.0, 0.0, tiny, 3.0], dtype=dtype)
    s = spike(x, kind(1.0))
    assert s.dtype == dtype
    assert s.tolist() == [0, 0, 1, 1, 1, 1]


@EVERY
def test_backward_is_the_derivative_times_what_arrives(kind: type) -> None:
    x = torch.linspace(-2, 2, 17, dtype=torch.float64, requires_grad=True)
    arriving = torch.arange(1.0, 18.0, dtype=torch.float64)
    spike(x, kind(0.8)).backward(arriving)
    expected = [FORMULAS[kind](v, 0.8) * g for v, g in zip(x.tolist(), arriving.tolist(), strict=True)]
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx(expected, rel=1e-12)
