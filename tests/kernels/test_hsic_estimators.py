"""HSIC estimators against explicit sums in numpy float64, and the values theory demands."""

from __future__ import annotations

from itertools import permutations
from math import perm, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snnhll.kernels.cosine import Cosine
from snnhll.kernels.gaussian import Gaussian
from snnhll.kernels.hsic import Estimator, centre, hsic

ESTIMATORS: list[Estimator] = ["approximate", "biased", "unbiased"]

seeds = st.integers(0, 2**31)


def matrices(m: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two Gaussian kernel matrices of dependent samples."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, 3, dtype=torch.float64, generator=generator)
    y = x[:, :2] + torch.randn(m, 2, dtype=torch.float64, generator=generator)
    return Gaussian(1.0, "fixed")(x), Gaussian(2.0, "fixed")(y)


def by_sums(K: np.ndarray, L: np.ndarray, estimator: Estimator) -> float:
    """(4-23), (4-21) and the U-statistic of Song et al. (2012), written as the sums they stand for."""
    m = len(K)
    everyone = range(m)
    if estimator == "approximate":
        return float(sum(K[i, j] * L[i, j] for i in everyone for j in everyone) / m**2 - K.sum() * L.sum() / m**4)
    if estimator == "biased":
        joint = sum(K[i, j] * L[i, j] for i in everyone for j in everyone) / m**2
        cross = sum(K[i, j] * L[i, l] for i in everyone for j in everyone for l in everyone) / m**3
        return float(joint + K.sum() / m**2 * L.sum() / m**2 - 2 * cross)
    joint = sum(K[i, j] * L[i, j] for i, j in permutations(everyone, 2)) / perm(m, 2)
    apart = sum(K[i, j] * L[q, r] for i, j, q, r in permutations(everyone, 4)) / perm(m, 4)
    cross = sum(K[i, j] * L[i, q] for i, j, q in permutations(everyone, 3)) / perm(m, 3)
    return float(joint + apart - 2 * cross)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("m", [4, 5, 8])
def test_equals_the_explicit_sums(estimator: Estimator, m: int) -> None:
    K, L = matrices(m)
    assert hsic(K, L, estimator).item() == pytest.approx(by_sums(K.numpy(), L.numpy(), estimator), rel=1e-10)


def test_biased_is_the_trace_of_the_centred_product() -> None:
    K, L = matrices()
    H = torch.eye(8, dtype=K.dtype) - 1 / 8
    torch.testing.assert_close(hsic(K, L, "biased"), torch.trace(K @ H @ L @ H) / 64)


@given(seed=seeds)
def test_approximate_differs_from_biased_by_twice_the_covariance_of_row_means(seed: int) -> None:
    K, L = matrices(seed=seed)
    rows_k, rows_l = K.mean(1), L.mean(1)
    covariance = (rows_k * rows_l).mean() - rows_k.mean() * rows_l.mean()
    torch.testing.assert_close(hsic(K, L) - hsic(K, L, "biased"), 2 * covariance)


def test_approximate_equals_biased_for_class_balanced_labels() -> None:
    K, _ = matrices()
    L = Cosine(centred=True)(torch.eye(4, dtype=torch.float64).repeat(2, 1))
    torch.testing.assert_close(hsic(K, L), hsic(K, L, "biased"))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(seed=seeds)
def test_zero_for_a_constant_kernel(estimator: Estimator, seed: int) -> None:
    K, _ = matrices(seed=seed)
    constant = torch.full_like(K, 0.7)
    assert hsic(K, constant, estimator).item() == pytest.approx(0, abs=1e-12)
    assert hsic(constant, K, estimator).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(seed=seeds)
def test_invariant_to_reordering_the_samples(estimator: Estimator, seed: int) -> None:
    K, L = matrices(seed=seed)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(hsic(K[order][:, order], L[order][:, order], estimator), hsic(K, L, estimator))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(seed=seeds)
def test_symmetric_in_its_arguments(estimator: Estimator, seed: int) -> None:
    K, L = matrices(seed=seed)
    torch.testing.assert_close(hsic(K, L, estimator), hsic(L, K, estimator))


@pytest.mark.parametrize("estimator", ["approximate", "biased"])
@given(seed=seeds)
def test_identical_samples_are_maximally_dependent(estimator: Estimator, seed: int) -> None:
    K, L = matrices(seed=seed)
    bound = sqrt(hsic(K, K, estimator).item() * hsic(L, L, estimator).item())
    assert 0 < abs(hsic(K, L, estimator).item()) < bound
    assert hsic(K, 3 * K, estimator).item() == pytest.approx(3 * hsic(K, K, estimator).item())


@given(seed=seeds)
def test_biased_is_never_negative(seed: int) -> None:
    assert hsic(*matrices(seed=seed), "biased").item() >= 0


def test_unbiased_is_zero_on_average_over_all_ways_to_pair_independent_samples() -> None:
    """Independence is drawn exactly: every assignment of the y to the x is equally likely."""
    K, L = matrices(6)
    orders = torch.tensor(list(permutations(range(6))))
    pairings = L[orders[:, :, None], orders[:, None, :]]
    values = {name: hsic(K.expand_as(pairings), pairings, name).mean().item() for name in ESTIMATORS}
    assert values["unbiased"] == pytest.approx(0, abs=1e-12)
    assert values["biased"] > 1e-3  # what the name of the unbiased estimator is about


def test_unbiased_is_zero_on_average_for_independent_draws() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4000, 8, 2, dtype=torch.float64, generator=generator)
    y = torch.randn(4000, 8, 2, dtype=torch.float64, generator=generator)
    kernel = Gaussian(1.0, "fixed")
    values = hsic(kernel(x), kernel(y), "unbiased")
    assert values.mean().abs() < 4 * values.std() / sqrt(4000)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_centred_kernel_is_the_gradient(estimator: Estimator) -> None:
    K, L = matrices()
    L.requires_grad_()
    (gradient,) = torch.autograd.grad(hsic(L, K, estimator), L)
    torch.testing.assert_close(gradient, centre(K, estimator))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_tiny_batches_are_finite_and_a_single_sample_depends_on_nothing(estimator: Estimator, m: int) -> None:
    K, L = matrices(m)
    value = hsic(K, L, estimator)
    assert value.isfinite()
    if m == 1 or estimator == "unbiased":
        assert value == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_leading_dimensions_are_batches_of_their_own(estimator: Estimator) -> None:
    K, L = (torch.stack(pair) for pair in zip(*(matrices(seed=s) for s in range(3)), strict=True))
    expected = torch.stack([hsic(k, l, estimator) for k, l in zip(K, L, strict=True)])
    torch.testing.assert_close(hsic(K, L, estimator), expected)
