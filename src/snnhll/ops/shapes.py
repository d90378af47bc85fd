"""The surrogate derivatives that have a compiled form, as the kernels take them."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from snnhll.surrogates.arctangent import Arctangent
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential
from snnhll.surrogates.sigmoid import Sigmoid
from snnhll.surrogates.surrogate import Surrogate
from snnhll.surrogates.triangle import Triangle

COMPILED_SURROGATES: tuple[type[Surrogate], ...] = (Sigmoid, Boxcar, Triangle, Exponential, Arctangent)


class Shape(NamedTuple):
    """Derivative at x: `peak` times the shape called `kind` of `rate * |x|`; exponentials are powers of 2."""

    kind: str
    peak: float
    rate: float


def shape_of(surrogate: Surrogate) -> Shape:
    """Return the shape of a surrogate whose class is one of COMPILED_SURROGATES."""
    return _shape(type(surrogate), surrogate.parameter)


@functools.cache
def _shape(kind: type[Surrogate], p: float) -> Shape:
    shapes: dict[type[Surrogate], tuple[float, float]] = {
        Sigmoid: (p, p / math.log(2)),
        Boxcar: (1 / (2 * p), p),
        Triangle: (1 / p, 1 / p),
        Exponential: (p, p / math.log(2)),
        Arctangent: (p / 2, math.pi / 2 * p),
    }
    return Shape(kind.__name__, *shapes[kind])
