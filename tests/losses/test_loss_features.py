"""Average pooling of maps to a head's input size."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.losses.features import pooled, pooled_length, pooled_side

shapes = st.tuples(st.integers(1, 600), st.integers(1, 32), st.integers(1, 32))


@given(shape=shapes, size=st.integers(1, 4096))
def test_side_is_the_largest_that_fits(shape: tuple[int, int, int], size: int) -> None:
    side = pooled_side(shape, size)
    if math.prod(shape) <= size:
        assert side is None
        return
    assert side is not None
    assert 1 <= side <= min(shape[1:])
    assert side == 1 or shape[0] * side**2 <= size
    assert side == min(shape[1:]) or shape[0] * (side + 1) ** 2 > size
    assert pooled_length(shape, side) == shape[0] * side**2


@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)), size=st.integers(1, 300))
def test_length_is_that_of_the_pooled_maps(shape: tuple[int, int, int], size: int) -> None:
    side = pooled_side(shape, size)
    assert pooled(torch.zeros(2, *shape), side).flatten(1).shape[1] == pooled_length(shape, side)


def test_heads_of_table_3_1() -> None:
    """VGG8 under a head input of 2048 (32 pixels) and 1024 (28 pixels)."""
    assert [pooled_side(s, 2048) for s in ((128, 32, 32), (256, 32, 32), (512, 8, 8), (512, 4, 4))] == [4, 2, 2, 2]
    assert [pooled_side(s, 1024) for s in ((128, 28, 28), (256, 28, 28), (512, 7, 7), (512, 3, 3))] == [2, 2, 1, 1]


def test_vectors_and_maps_that_fit_pass_unchanged() -> None:
    assert pooled_side((5000,), 10) is None
    x = torch.rand(2, 3, 4, 4)
    assert pooled(x, pooled_side((3, 4, 4), 48)) is x


def test_pooling_keeps_the_mean() -> None:
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(pooled(x, 3).mean((2, 3)), x.mean((2, 3)))
