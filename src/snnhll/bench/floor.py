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
from torch import Tensor
from torch.nn import functional as F

from snnhll.bench.works import CLASSES, Work

KERNEL = 3
REPEATS, WARM_UP = 9, 3


@dataclass(frozen=True)
class Probe:
    """The plain operations whose rate is measured: a 3x3 convolution of square maps, a product of square matrices."""

    batch: int
    channels: int
    side: int
    matrix: int


CPU, GPU = Probe(64, 64, 28, 1024), Probe(640, 256, 32, 8192)  # large enough to keep the device busy


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
def measure(precision: str, device: str = "cpu", probe: Probe = CPU) -> Rates:
    """Return the rates of a 3x3 convolution and of a product of two square matrices, medians over a few calls.

    precision: "float32" or "bfloat16".
    """
    dtype = getattr(torch, precision)
    batch, channels, side = probe.batch, probe.channels, probe.side
    maps = _random(dtype, device, batch, channels, side, side)
    weight = _random(dtype, device, channels, channels, KERNEL, KERNEL)
    a, b = (_random(dtype, device, probe.matrix, probe.matrix) for _ in range(2))
    conv = 2.0 * maps.numel() * channels * KERNEL**2
    return Rates(
        conv / _median_time(lambda: F.conv2d(maps, weight, padding=KERNEL // 2), device),
        2.0 * probe.matrix**3 / _median_time(lambda: F.linear(a, b), device),
    )


def _random(dtype: torch.dtype, device: str, *shape: int) -> Tensor:
    x = torch.rand(shape, device=device).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


def _median_time(call: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(WARM_UP + REPEATS):
        began = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM_UP:])


def wait(device: str) -> None:
    """Wait until a device has done what it was given; a CPU has."""
    if device != "cpu":
        torch.cuda.synchronize(device)
