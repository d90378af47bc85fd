"""The floor under a training step: the arithmetic it cannot avoid, over the rate of a plain convolution or product.

What local learning with a rate-based presynaptic term cannot avoid: every layer's synaptic product at each of the T
steps (once for the first layer, whose input is constant), and one weight gradient a layer. The readout acts on rates.
Loss heads, neurons, normalisation and the optimiser are left out, so no implementation reaches the floor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch.nn import functional as F

from snnhll.bench.works import CLASSES, Work

CONV = {"batch": 64, "channels": 64, "side": 28, "kernel": 3}
MATRIX = 1024
REPEATS, WARM_UP = 9, 3


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of one step, a multiply-accumulate counted as two."""

    conv: float
    linear: float


@dataclass(frozen=True)
class Rates:
    """Measured floating-point operations a second."""

    conv: float
    linear: float


def operations(work: Work, steps: int, batch: int) -> Operations:
    """Return what one training step on `batch` images with T = `steps` has to compute."""
    sums = {"conv": 0, "linear": 0}
    for i, layer in enumerate(work.layers()):
        fan_in = layer.in_shape[0] * layer.kernel**2
        products = prod(layer.out_shape) * fan_in
        forward = 1 if i == 0 else steps
        sums[layer.kind] += products * (forward + 1)
    sums["linear"] += prod(work.layers()[-1].pooled_shape) * CLASSES * 2
    return Operations(2.0 * batch * sums["conv"], 2.0 * batch * sums["linear"])


def seconds(needed: Operations, rates: Rates) -> float:
    """Return the time the operations take at these rates."""
    return needed.conv / rates.conv + needed.linear / rates.linear


@torch.no_grad()
def measure(precision: str) -> Rates:
    """Return the rates of a 3x3 convolution of 64 to 64 channels and of a product of two square matrices.

    precision: "float32" or "bfloat16". Medians over a few calls.
    """
    dtype = getattr(torch, precision)
    batch, channels, side, kernel = CONV.values()
    maps = torch.rand(batch, channels, side, side).to(dtype, memory_format=torch.channels_last)
    weight = torch.rand(channels, channels, kernel, kernel).to(dtype, memory_format=torch.channels_last)
    a, b = torch.rand(MATRIX, MATRIX).to(dtype), torch.rand(MATRIX, MATRIX).to(dtype)
    conv = 2.0 * maps.numel() * channels * kernel**2
    return Rates(
        conv / _median_time(lambda: F.conv2d(maps, weight, padding=kernel // 2)),
        2.0 * MATRIX**3 / _median_time(lambda: F.linear(a, b)),
    )


def _median_time(call: Callable[[], object]) -> float:
    times = []
    for _ in range(WARM_UP + REPEATS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM_UP:])
