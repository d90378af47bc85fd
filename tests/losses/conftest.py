from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.losses.loss import Activity

Slope = Callable[[Callable[[np.ndarray], float], np.ndarray], np.ndarray]


def _slope(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (f(up) - f(down)) / (2 * h)
    return gradient


@pytest.fixture(scope="session")
def slope() -> Slope:
    """Central differences of f at x, float64."""
    return _slope


@pytest.fixture(scope="session")
def see() -> Callable[..., Activity]:
    """What a layer did: random activity [S, B, ...] of float64 that gradients are asked of, and its source [B, ...]."""

    def make(*shape: int, source: tuple[int, ...] = (1,), seed: int = 0) -> Activity:
        draw = torch.Generator().manual_seed(seed)
        spikes = torch.rand(*shape, generator=draw, dtype=torch.float64).requires_grad_()
        return Activity(spikes, spikes.mean(0), torch.rand(shape[1], *source, generator=draw, dtype=torch.float64))

    return make


def _values(x: Tensor) -> np.ndarray:
    return x.detach().numpy().copy()


@pytest.fixture(scope="session")
def values() -> Callable[[Tensor], np.ndarray]:
    return _values
