"""Statistics over seeds: mean, sample standard deviation, and a paired test."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean, None of nothing."""
    return statistics.fmean(values) if values else None


def sample_std(values: Sequence[float]) -> float | None:
    """Return the standard deviation with n - 1 in the denominator, None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def paired_p(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """Return the two-sided p-value of Student's paired t-test over the seeds that `a` and `b` share.

    None with fewer than two shared seeds, or where every difference is the same, so that the test says nothing.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    spread = sample_std(differences)
    if spread is None or spread <= 1e-12 * max(map(abs, differences)):
        return None
    n = len(differences)
    t = statistics.fmean(differences) / (spread / math.sqrt(n))
    return 1.0 - within(abs(t), n - 1)


def within(t: float, freedom: int) -> float:
    """Return the probability that Student's t with `freedom` degrees lies within -t and t, for t >= 0.

    The finite series of Abramowitz & Stegun (1964), 26.7.3 and 26.7.4: exact for whole degrees of freedom.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    if freedom == 1:
        return 2 * angle / math.pi
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    series = term
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * cosine**2
        series += term
    series *= math.sin(angle)
    return 2 / math.pi * (angle + series) if odd else series
