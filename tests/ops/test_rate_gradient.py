from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snnhll.ops import cpu, rate_gradient, reference

SHAPES = [(7, 5), (64, 130), (3, 6, 5, 4), (5, 33, 9, 7)]


def maps(shape: tuple[int, ...], seed: int) -> list[Tensor]:
    """Four maps laid out channels last."""
    draw = torch.Generator().manual_seed(seed)
    last = [shape[0], *shape[2:], shape[1]]
    return [torch.randn(last, generator=draw).movedim(-1, 1) for _ in range(4)]


def statistics(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    gamma, mean, inverse = torch.randn(3, channels, generator=draw)
    return gamma, mean, inverse.abs() + 0.1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fast_equals_reference(shape: tuple[int, ...], normalised: bool, dtype: torch.dtype) -> None:
    norm = statistics(shape[1]) if normalised else None
    fast = cpu.rate_gradient(*maps(shape, 0), norm, dtype)
    wide = None if norm is None else tuple(x.double() for x in norm)
    exact = reference.rate_gradient(*(x.double() for x in maps(shape, 0)), wide, torch.float64)
    assert fast[0].dtype == dtype
    torch.testing.assert_close(fast[0].double(), exact[0], rtol=1e-5 if dtype == torch.float32 else 2**-8, atol=2e-5)
    for ours, true in zip(fast[1:], exact[1:], strict=True):
        assert (ours is None) == (true is None)
        if ours is not None and true is not None:
            torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_normalisation_the_means_of_the_input_are_not_read(shape: tuple[int, ...]) -> None:
    grad, slope, slope_input, mean_input = maps(shape, 0)
    for path in (cpu, reference):
        whole = path.rate_gradient(grad, slope, slope_input, mean_input, None, torch.float32)
        lean = path.rate_gradient(grad, slope, None, None, None, torch.float32)
        assert torch.equal(lean[0], whole[0])
        assert torch.equal(lean[2], whole[2])


@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_gradient_through_a_batch_normalisation(shape: tuple[int, ...]) -> None:
    """One time step: r is linear in y with slope s, so dL/dz must be autograd's through F.batch_norm."""
    grad, slope, z, _ = (x.double() for x in maps(shape, 3))
    gamma, beta = (torch.randn(shape[1], dtype=torch.float64, requires_grad=True) for _ in range(2))
    leaf = z.clone().requires_grad_()
    y = torch.nn.functional.batch_norm(leaf, None, None, gamma, beta, training=True, eps=1e-5)
    (y * slope * grad).sum().backward()
    others = [d for d in range(z.dim()) if d != 1]
    var, mean = torch.var_mean(z, others, correction=0)
    norm = (gamma, mean, (var + 1e-5).rsqrt())
    found = rate_gradient(grad, slope, slope * z, z, norm, torch.float64)
    for ours, true in zip(found, (leaf.grad, gamma.grad, beta.grad), strict=True):
        torch.testing.assert_close(ours, true, rtol=1e-9, atol=1e-9)
