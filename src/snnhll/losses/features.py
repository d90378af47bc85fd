"""From the activity of a layer to a feature vector of bounded length."""

from __future__ import annotations

import math

from torch import Tensor

from snnhll.networks.spec import Shape
from snnhll.ops import average_pool


def pooled_side(shape: Shape, size: int) -> int | None:
    """Return the side to which maps of `shape` (C, H, W) are pooled so that C side² <= size; None when they fit.

    1 where the channels alone are more than `size`.
    """
    if len(shape) == 1 or math.prod(shape) <= size:
        return None
    return max(1, min(math.isqrt(size // shape[0]), *shape[1:]))


def pooled(x: Tensor, side: int | None) -> Tensor:
    """Average-pool maps [N, C, H, W] to [N, C, side, side]; vectors and maps that fit pass unchanged."""
    return x if side is None else average_pool(x, side)


def pooled_length(shape: Shape, side: int | None) -> int:
    """Return the number of features after pooling maps of `shape` to `side`."""
    return math.prod(shape) if side is None else shape[0] * side * side
