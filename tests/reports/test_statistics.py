"""Mean, sample standard deviation and the paired test, against independent computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from snnhll.reports.statistics import holm, mean, paired_p, sample_std, within

shares = st.lists(st.floats(0, 100), min_size=2, max_size=8)


@given(shares)
def test_mean_and_sample_std_agree_with_numpy(values: list[float]) -> None:
    assert mean(values) == pytest.approx(np.mean(values))
    assert sample_std(values) == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_nothing_and_one_value() -> None:
    assert (mean([]), sample_std([])) == (None, None)
    assert (mean([3.0]), sample_std([3.0])) == (3.0, None)


@given(st.integers(1, 12), st.floats(0, 30))
def test_student_t_within_a_bound_is_the_integral_of_its_density(freedom: int, t: float) -> None:
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    half, _ = integrate.quad(lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2), 0, t, epsabs=1e-12)
    assert within(t, freedom) == pytest.approx(2 * half, abs=1e-9)


@given(st.data())
def test_the_paired_test_agrees_with_scipy(data: Any) -> None:
    n = data.draw(st.integers(3, 8))
    a, b = (data.draw(st.lists(st.floats(0, 100), min_size=n, max_size=n)) for _ in range(2))
    ours = paired_p(dict(enumerate(a)), dict(enumerate(b)))
    differences = np.subtract(a, b)
    if ours is None:
        assert np.ptp(differences) <= 1e-10 * max(1.0, np.abs(differences).max())
    elif np.std(differences) > 1e-6 * np.abs(differences).max():  # below, scipy itself warns of lost precision
        assert ours == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-8)


def test_the_paired_test_pairs_by_seed_and_leaves_out_unpaired_seeds() -> None:
    a = {0: 90.0, 1: 91.0, 2: 89.5, 7: 10.0}
    b = {2: 89.0, 0: 88.8, 1: 90.1, 9: 99.0}
    expected = stats.ttest_rel([90.0, 91.0, 89.5], [88.8, 90.1, 89.0]).pvalue
    assert paired_p(a, b) == pytest.approx(expected)
    assert paired_p(a, b) == pytest.approx(paired_p(b, a))


def test_the_paired_test_is_silent_without_pairs_or_spread() -> None:
    assert paired_p({0: 1.0}, {0: 2.0}) is None
    assert paired_p({0: 1.0, 1: 2.0}, {2: 1.0, 3: 2.0}) is None
    assert paired_p({0: 1.0, 1: 2.0, 2: 5.0}, {0: 2.0, 1: 3.0, 2: 6.0}) is None
    assert paired_p({0: 1.0, 1: 2.0, 2: 5.0}, {0: 1.0, 1: 2.0, 2: 5.0}) is None


def test_two_seeds_are_too_few_for_a_test() -> None:
    assert paired_p({0: 1.0, 1: 2.0}, {0: 3.0, 1: 3.5}) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holms_correction_by_its_definition(ps: list[float]) -> None:
    """A hypothesis is rejected at level a when it and all with smaller p pass a / (number not yet rejected)."""
    corrected = holm(ps)
    for level in (0.01, 0.05, 0.2, 0.9):
        rejected: set[int] = set()
        for i in sorted(range(len(ps)), key=ps.__getitem__):
            if (len(ps) - len(rejected)) * ps[i] > level:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(corrected) if p <= level} == rejected
