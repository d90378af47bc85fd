"""Reductions of rates: their values, their sizes, and that `pullback` is the transposed derivative autograd finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from snnhll.kernels.features import Deviation, Features, Flat, Group, Pool, reduction

SHAPES = [(24,), (7,), (1,), (4, 6, 6), (12, 5, 5), (40, 3, 3), (6, 1, 1), (3, 2, 9)]
REDUCTIONS = [Flat(), Pool(8), Pool(24), Group(8), Group(3), Deviation()]


def rates(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("features", REDUCTIONS, ids=str)
def test_pullback_is_the_gradient(features: Features, shape: tuple[int, ...]) -> None:
    x = rates(*shape).requires_grad_()
    y = features.values(x)  # plain torch operations: automatic differentiation of the values themselves
    signal = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(y, x, signal)
    torch.testing.assert_close(features.pullback(x.detach(), signal), gradient)
    torch.testing.assert_close(torch.autograd.grad(features(x), x, signal)[0], gradient)


@pytest.mark.parametrize("features", REDUCTIONS, ids=str)
def test_the_memory_format_of_maps_does_not_matter(features: Features) -> None:
    x = rates(4, 6, 6).requires_grad_()
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    signal = torch.arange(features(x).numel(), dtype=x.dtype).view(3, -1)
    torch.testing.assert_close(features(last), features(x))
    gradients = [torch.autograd.grad(features(v), v, signal)[0] for v in (last, x)]
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["flat", "pool", "group", "deviation"])
def test_silent_layers_give_finite_features_and_gradients(name: str, shape: tuple[int, ...]) -> None:
    features = reduction(name, 4)  # type: ignore[arg-type]
    x = torch.zeros(3, *shape, requires_grad=True)
    y = features(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*divide evenly")
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(1, 64))
def test_pool_and_group_never_exceed_their_size(channels: int, height: int, width: int, size: int) -> None:
    x = rates(channels, height, width)
    assert 1 <= Pool(size)(x).shape[1] <= size
    assert 1 <= Group(size)(x).shape[1] <= size


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(1, 64))
def test_pool_keeps_a_uniform_activity_and_the_mean_of_any(channels: int, height: int, width: int, size: int) -> None:
    x = rates(channels, height, width)
    torch.testing.assert_close(Pool(size)(torch.ones_like(x)), torch.ones_like(Pool(size)(x)))
    torch.testing.assert_close(Pool(size)(x).mean(1), x.flatten(1).mean(1))


def test_pool_by_a_divisor_is_average_pooling() -> None:
    x = rates(4, 6, 6)
    torch.testing.assert_close(Pool(4 * 3 * 3)(x), F.avg_pool2d(x, 2).flatten(1))


def test_pool_leaves_alone_what_already_fits() -> None:
    x = rates(4, 3, 3)
    torch.testing.assert_close(Pool(36)(x), x.flatten(1))


def test_pool_averages_neurons_where_there_is_no_space() -> None:
    x = rates(24)
    torch.testing.assert_close(Pool(8)(x), x.view(3, 8, 3).mean(2))


def test_group_is_the_standard_deviation_of_neighbours() -> None:
    x = rates(24)
    expected = x.view(3, 8, 3).std(2, unbiased=False)
    torch.testing.assert_close(Group(8, eps=0.0)(x), expected)


def test_group_does_not_see_a_shift_of_a_whole_group() -> None:
    x = rates(24)
    shifted = x + torch.arange(8, dtype=x.dtype).repeat_interleave(3)
    torch.testing.assert_close(Group(8)(shifted), Group(8)(x))


def test_group_takes_the_largest_number_that_divides() -> None:
    assert Group(32)(rates(1024)).shape == (3, 32)
    assert Group(32)(rates(100)).shape == (3, 25)
    with pytest.warns(UserWarning, match="7 neurons or channels divide evenly into 1 group only, where 3 were"):
        assert Group(32)(rates(7)).shape == (3, 1)
    assert Group(32)(rates(12, 4, 4)).shape == (3, 12)


def test_group_of_a_map_is_taken_over_whole_channels() -> None:
    x = rates(6, 5, 5)
    expected = x.view(3, 3, 50).std(2, unbiased=False)
    torch.testing.assert_close(Group(4, eps=0.0)(x), expected)


def test_deviation_is_taken_over_space_channel_by_channel() -> None:
    x = rates(4, 6, 6)
    torch.testing.assert_close(Deviation(eps=0.0)(x), x.flatten(2).std(2, unbiased=False))


def test_deviation_of_a_single_position_is_the_rate() -> None:
    torch.testing.assert_close(Deviation()(rates(6, 1, 1)), rates(6, 1, 1).flatten(1))
    torch.testing.assert_close(Deviation()(rates(6)), rates(6))
