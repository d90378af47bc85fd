"""`snnhll.ops.moments` against float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnhll.ops import moments, reference, which


def truth(z: Tensor) -> tuple[Tensor, Tensor]:
    flat = z.double().movedim(2, 0).flatten(1)
    mean = flat.sum(1) / flat.shape[1]
    return mean, ((flat - mean[:, None]) ** 2).sum(1) / flat.shape[1]


def assert_float32_of(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(10, 8, 64, 28, 28), (3, 2, 5, 7, 7), (1, 64, 1024), (4, 1, 1, 3, 3)])
def test_fast_and_reference(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    z = z.to(dtype).movedim(2, -1).contiguous().movedim(-1, 2)
    assert which(z) == "numba"
    assert_float32_of(moments(z), truth(z))
    assert_float32_of(reference.moments(z), truth(z))


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 70), st.integers(1, 12), st.integers(1, 12))
)
def test_any_shape(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    z = z.movedim(2, -1).contiguous().movedim(-1, 2)
    assert_float32_of(moments(z), truth(z))


def test_a_large_mean_does_not_swallow_the_variance() -> None:
    """In float32 the mean of squares, 10^6, has steps of 0.06: a variance of 1 from sums about zero would be noise."""
    z = torch.randn(4, 16, 2000, generator=torch.Generator().manual_seed(1)) + 1000
    mean, var = moments(z)
    torch.testing.assert_close(var.double(), truth(z)[1], rtol=1e-5, atol=0)
    torch.testing.assert_close(mean.double(), truth(z)[0], rtol=1e-7, atol=0)


def test_same_bits_for_every_thread_count() -> None:
    z = torch.randn(4, 16, 300, generator=torch.Generator().manual_seed(2))
    threads = torch.get_num_threads()
    many = moments(z)
    try:
        torch.set_num_threads(1)
        one = moments(z)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one[0], many[0])
    assert torch.equal(one[1], many[1])
