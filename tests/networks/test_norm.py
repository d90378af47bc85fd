"""Batch normalisation over batch, time and positions: against numpy, and its two forms against each other."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.networks.norm import BatchNorm

SHAPES = pytest.mark.parametrize("shape", [(5, 6, 3), (1, 6, 3), (5, 6, 3, 4, 2), (1, 6, 3, 4, 2)])
CHANNELS, MOMENTUM, EPS = 3, 0.1, 1e-5
GAMMA, BETA = np.array([0.5, 1.0, 2.0]), np.array([-1.0, 0.0, 3.0])
MEAN, VAR = np.array([0.3, -0.2, 0.1]), np.array([2.0, 0.5, 1.5])  # running statistics before the call


def norm() -> BatchNorm:
    built = BatchNorm(CHANNELS).double()
    with torch.no_grad():
        for stored, values in zip((built.gamma, built.beta), (GAMMA, BETA), strict=True):
            stored.copy_(torch.from_numpy(values))
        built.running_mean.copy_(torch.from_numpy(MEAN))
        built.running_var.copy_(torch.from_numpy(VAR))
    return built


def current(shape: tuple[int, ...]) -> Tensor:
    """A sequence [S, B, C, ...], in memory with its channels last, as networks have them."""
    last = (*shape[:2], *shape[3:], shape[2])
    return (2 + 3 * torch.randn(last, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).movedim(-1, 2)


def columns(z: Tensor) -> np.ndarray:
    """[channels, everything else]"""
    return z.movedim(2, 0).flatten(1).numpy()


def in_numpy(z: Tensor, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    normal = (columns(z) - mean[:, None]) / np.sqrt(var[:, None] + EPS)
    return GAMMA[:, None] * normal + BETA[:, None]


@SHAPES
def test_training_uses_and_remembers_the_statistics_of_all_steps(shape: tuple[int, ...]) -> None:
    bn, z = norm(), current(shape)
    y = bn(z).detach()
    mean, var, count = columns(z).mean(1), columns(z).var(1), columns(z).shape[1]
    np.testing.assert_allclose(columns(y), in_numpy(z, mean, var), rtol=1e-10)
    np.testing.assert_allclose(bn.running_mean, (1 - MOMENTUM) * MEAN + MOMENTUM * mean)
    unbiased = var * count / (count - 1)
    np.testing.assert_allclose(bn.running_var, (1 - MOMENTUM) * VAR + MOMENTUM * unbiased)


@SHAPES
def test_evaluation_uses_the_running_statistics_and_leaves_them(shape: tuple[int, ...]) -> None:
    bn, z = norm().eval(), current(shape)
    before = copy.deepcopy(bn.state_dict())
    y = bn(z).detach()
    np.testing.assert_allclose(columns(y), in_numpy(z, MEAN, VAR), rtol=1e-10)
    bn.affine(z)
    torch.testing.assert_close(bn.state_dict(), before, rtol=0, atol=0)


@SHAPES
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_affine_is_the_same_map(shape: tuple[int, ...], training: bool, dtype: torch.dtype) -> None:
    z = current(shape).to(dtype)
    one, other = norm().to(dtype).train(training), norm().to(dtype).train(training)
    scale, shift, mean, inverse = other.affine(z)
    per_channel = (-1, *(1,) * (z.dim() - 3))
    torch.testing.assert_close(z * scale.view(per_channel) + shift.view(per_channel), one(z), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one.state_dict(), other.state_dict())
    torch.testing.assert_close(scale, other.gamma * inverse)
    torch.testing.assert_close(shift, other.beta - mean * scale)


def test_differentiable_through_the_statistics() -> None:
    def apply(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        fresh = {n: b.clone() for n, b in bn.named_buffers()}
        return torch.func.functional_call(bn, fresh | {"gamma": gamma, "beta": beta}, (z,))

    bn = norm()
    assert torch.autograd.gradcheck(apply, (current((2, 3, 3)).requires_grad_(), bn.gamma, bn.beta))


def test_normalises_bfloat16_in_float32() -> None:
    bn, z = BatchNorm(CHANNELS), current((4, 64, 3)).bfloat16()
    y = bn(z)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(3), atol=1e-5, rtol=0)


def test_starts_as_a_plain_normalisation() -> None:
    bn = BatchNorm(2)
    assert bn.gamma.tolist() == [1, 1]
    assert bn.beta.tolist() == [0, 0]
    assert bn.running_mean.tolist() == [0, 0]
    assert bn.running_var.tolist() == [1, 1]
