"""The kernels in plain torch: readable, for any dtype and device, and the definition of what the fast paths compute."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from snnhll.ops.signature import LIFSettings, Pass, normalisation_terms
from snnhll.surrogates.surrogate import Surrogate, spike


def compute_dtype(z: Tensor) -> torch.dtype:
    """Membranes and means are float32 whatever the precision of the input; float64 stays float64."""
    return torch.float64 if z.dtype == torch.float64 else torch.float32


def reset(u: Tensor, s: Tensor, settings: LIFSettings) -> Tensor:
    """Membrane after the spikes `s` of this step: u - v_th s (soft), or v_reset where it spiked (hard)."""
    if settings.reset == "soft":
        return u - settings.v_th * s
    return u * (1 - s) + settings.v_reset * s


@torch.no_grad()
def lif_pass(
    z: Tensor,
    steps: int,
    settings: LIFSettings,
    surrogate: Surrogate,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    gate: Tensor | None = None,
    pool: int = 1,
    gradient: bool = True,
    input_means: bool = True,
) -> Pass:
    """Run T steps of (3-1, 3-2) on the current z * scale + shift; see `snnhll.ops.lif_pass`."""
    dtype = compute_dtype(z)
    per_channel = (-1,) + (1,) * (z.dim() - 3)
    v = torch.zeros_like(z[0], dtype=dtype)
    rate, slope, slope_input = (torch.zeros_like(v) for _ in range(3))
    sent = []
    for t in range(steps):
        raw = z[t if z.shape[0] > 1 else 0].to(dtype)
        current = raw
        if scale is not None and shift is not None:
            current = raw * scale.to(dtype).view(per_channel) + shift.to(dtype).view(per_channel)
        u = settings.decay * v + current
        x = u - settings.v_th
        s = spike(x, surrogate)
        v = reset(u, s, settings)
        gated = (s if gate is None else s * gate.to(dtype)).to(z.dtype)
        sent.append(gated if pool == 1 else F.max_pool2d(gated, pool))
        rate += s
        if gradient:
            derivative = surrogate.derivative(x)
            slope += derivative
            if input_means:
                slope_input += derivative * raw
    spikes = torch.stack(sent)
    output_rate = torch.zeros_like(sent[0], dtype=dtype)
    for step in sent:  # in the order of time: a sum whose rounding the fast paths can repeat exactly
        output_rate += step
    means: list[Tensor | None] = [None, None, None]
    if gradient:
        means[0] = slope / steps
        if input_means:
            means[1:] = slope_input / steps, z.to(dtype).mean(0)
    return Pass(spikes, output_rate / steps, rate / steps, *means)


def lif_step(current: Tensor, v: Tensor | None, settings: LIFSettings, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
    """Spikes [B, ...] of one step of (3-1, 3-2), and the membrane after it; see `snnhll.ops.lif_step`."""
    u = current.to(compute_dtype(current))
    if v is not None:
        u = settings.decay * v + u
    s = spike(u - settings.v_th, surrogate)
    return s.to(current.dtype), reset(u, s, settings).detach()


def average_pool(maps: Tensor, side: int) -> Tensor:
    """Return maps [..., C, H, W] average-pooled over space to [..., C, side, side]."""
    flat = maps.flatten(0, -4)
    pooled = F.adaptive_avg_pool2d(flat, side)
    if pooled.requires_grad and flat.is_contiguous(memory_format=torch.channels_last):
        pooled.register_hook(in_channels_last)
    return pooled.unflatten(0, maps.shape[:-3])


def pooled_apart(spikes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return spikes [T, B, C, H, W] without their gradient, and average-pooled [T, B, C, side, side] with it."""
    return spikes.detach(), average_pool(spikes, side)


def in_channels_last(grad: Tensor) -> Tensor:
    """Return a gradient of pooled maps as torch's backward pass of pooling takes it five times as fast on a CPU."""
    return grad.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of z [S, B, C, ...], summed in float64."""
    others = [d for d in range(z.dim()) if d != 2]
    var, mean = torch.var_mean(z.double(), dim=others, correction=0)
    return mean.to(compute_dtype(z)), var.to(compute_dtype(z))


def lif_sequence(
    current: Tensor,
    steps: int,
    settings: LIFSettings,
    surrogate: Surrogate,
    through_time: bool,
    detach_reset: bool,
) -> Tensor:
    """Spikes [T, B, ...] of a current [S, B, ...], differentiable by plain autograd; see `snnhll.ops.lif_sequence`."""
    wide = current.to(compute_dtype(current))
    v = torch.zeros_like(wide[0])
    spikes = []
    for t in range(steps):
        u = settings.decay * v + wide[t if current.shape[0] > 1 else 0]
        s = spike(u - settings.v_th, surrogate)
        v = reset(u, s.detach() if detach_reset else s, settings)
        if not through_time:
            v = v.detach()
        spikes.append(s)
    return torch.stack(spikes).to(current.dtype)


@torch.no_grad()
def rate_gradient(
    grad: Tensor,
    slope: Tensor,
    slope_input: Tensor | None,
    mean_input: Tensor | None,
    norm: tuple[Tensor, Tensor, Tensor] | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Gradient at the mean over time of z; see `snnhll.ops.rate_gradient`."""
    others = [d for d in range(grad.dim()) if d != 1]
    per_channel = (-1,) + (1,) * (grad.dim() - 2)
    grad_y = slope * grad  # in the memory order of the slope
    grad_beta = grad_y.sum(others)
    if norm is None:
        return grad_y.to(dtype), None, grad_beta
    assert slope_input is not None
    assert mean_input is not None
    terms = normalisation_terms(norm, grad_beta, (grad * slope_input).sum(others), grad.numel() // grad.shape[1])
    factor, constant, linear = (x.view(per_channel) for x in terms[:3])
    return ((grad_y - constant - mean_input * linear) * factor).to(dtype), terms.grad_gamma, grad_beta
