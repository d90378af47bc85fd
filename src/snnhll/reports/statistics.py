"""Statistics over seeds: mean, sample standard deviation, and a paired test, corrected where there are several."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

PAIRS = 3  # fewer seeds say too little of their own spread for a test


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean, None of nothing."""
    return statistics.fmean(values) if values else None


def sample_std(values: Sequence[float]) -> float | None:
    """Return the standard deviation with n - 1 in the denominator, None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def paired_p(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """Return the two-sided p-value of Student's paired t-test over the seeds that `a` and `b` share.

    None with fewer than `PAIRS` shared seeds, or where every difference is the same, so that the test says nothing.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    n, spread = len(differences), sample_std(differences)
    if n < PAIRS or spread is None or spread <= 1e-12 * max(map(abs, differences)):
        return None
    t = statistics.fmean(differences) / (spread / math.sqrt(n))
    return 1.0 - within(abs(t), n - 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, by the step-down procedure of Holm (1979), in the order given."""
    corrected = [0.0] * len(ps)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = highest
    return corrected


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
