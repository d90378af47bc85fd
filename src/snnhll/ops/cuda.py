"""The CUDA fast path: tensors in and out of the Triton kernels. Imported only when it runs, for it loads Triton.

With TRITON_INTERPRET=1 set before Triton is loaded, the same functions run on CPU tensors, which is how tests without a
GPU try the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from snnhll.ops import triton_kernels as kernels
from snnhll.ops.layout import is_channels_last, like_steps
from snnhll.ops.sequence import differentiable
from snnhll.ops.shapes import shape_of
from snnhll.ops.signature import LIFSettings, Pass, normalisation_terms
from snnhll.surrogates.surrogate import Surrogate

# Sizes of what a program holds. Not tuned: no measurement of these kernels has been made.
BLOCK = 512
"""Elements a program of an elementwise kernel works on at a time."""

ROWS, COLUMNS = 32, 64
"""Pixels and channels whose sums a program takes at a time."""

SHARES = 512
"""Partial sums at most; their number depends on the shape alone, so the result is the same from run to run."""

PROGRAMS = 1024
"""Programs of the backward pass of `lif_sequence`, each with its own membranes of all steps: 2 MiB a step in all."""


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
    """`snnhll.ops.lif_pass` for z that lies in memory as it is written or channels_last.

    `output_rate` is the very tensor `rate` where neither gate nor pool tells them apart.
    """
    channels, batch, size = z.shape[2], z.shape[1], list(z.shape[3:])
    last = is_channels_last(z)
    pooled = [side // pool for side in size]
    spikes = _new(z, [steps, batch], pooled, z.dtype, last)
    rate = _new(z, [batch], size, torch.float32, last)
    averaged = gate is not None or pool > 1
    output_rate = _new(z, [batch], pooled, torch.float32, last) if averaged else rate
    wanted = (3 if input_means else 1) if gradient else 0
    means = [_new(z, [batch], size, torch.float32, last) if i < wanted else None for i in range(3)]
    height, width = size or (1, 1)
    cells = batch * channels * -(-height // pool) * -(-width // pool)
    window = triton.next_power_of_2(pool * pool)
    block = max(BLOCK // window, 32)
    kind, peak, sharpness = shape_of(surrogate)
    with _on(z):
        kernels.lif_pass[(triton.cdiv(cells, block),)](
            z.detach(),
            _vector(scale, rate),
            _vector(shift, rate),
            rate if gate is None else _in_order(gate.detach().to(z.dtype), last),
            spikes,
            output_rate,
            rate,
            *(rate if mean is None else mean for mean in means),
            *_neuron(settings),
            peak,
            sharpness,
            float(steps),
            steps,
            cells,
            height,
            width,
            channels,
            z[0].numel(),
            spikes[0].numel(),
            KIND=kind,
            SOFT=settings.reset == "soft",
            SCALED=scale is not None,
            GATED=gate is not None,
            AVERAGED=averaged,
            GRADIENT=gradient,
            INPUT_MEANS=gradient and input_means,
            CONSTANT=len(z) == 1,
            LAST=last,
            POOL=pool,
            WINDOW=window,
            BLOCK=block,
            enable_fp_fusion=False,
        )
    return Pass(spikes, output_rate, rate, *means)


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """`snnhll.ops.moments`; sums are taken about the first pixel, so that a mean far from zero does not swallow the
    variance."""
    z = z.detach()
    pivot = z[0, 0].reshape(z.shape[2], -1)[:, 0].float().contiguous()
    count = z.numel() // z.shape[2]
    first, second = _channel_sums(kernels.moment_sums, (z, pivot), z, count) / count
    return (pivot + first).float(), (second - first * first).float()


def rate_gradient(
    grad: Tensor,
    slope: Tensor,
    slope_input: Tensor | None,
    mean_input: Tensor | None,
    norm: tuple[Tensor, Tensor, Tensor] | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """`snnhll.ops.rate_gradient`: one pass to sum, one to write."""
    last, channels = is_channels_last(slope.unsqueeze(0)), grad.shape[1]
    maps = (slope if x is None else x for x in (grad, slope, slope_input, mean_input))  # what nothing reads then
    grad, slope, slope_input, mean_input = (_in_order(x.detach(), last) for x in maps)
    count = grad.numel() // channels
    sums = _channel_sums(kernels.gradient_sums, (grad, slope, slope_input), slope.unsqueeze(0), count)
    grad_beta, grad_input = sums.float()
    terms = None if norm is None else normalisation_terms(norm, grad_beta, grad_input, count)
    nothing = torch.zeros_like(grad_beta)
    factor, constant, linear = (nothing + 1, nothing, nothing) if terms is None else terms[:3]
    grad_z = _new(slope.unsqueeze(0), [grad.shape[0]], list(grad.shape[2:]), dtype, last)
    with _on(grad):
        kernels.rate_gradient[(triton.cdiv(grad.numel(), BLOCK),)](
            grad,
            slope,
            mean_input,
            _vector(factor, nothing),
            _vector(constant, nothing),
            _vector(linear, nothing),
            grad_z,
            grad.numel(),
            channels,
            1 if last else count // grad.shape[0],
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return grad_z, None if terms is None else terms.grad_gamma, grad_beta


def lif_sequence(
    current: Tensor, steps: int, settings: LIFSettings, surrogate: Surrogate, through_time: bool, detach_reset: bool
) -> Tensor:
    """`snnhll.ops.lif_sequence` for a current that `layout.steps_flat` can view."""
    return differentiable(_spikes, _gradient, current, steps, settings, surrogate, through_time, detach_reset)


def _spikes(current: Tensor, steps: int, settings: LIFSettings) -> Tensor:
    spikes = like_steps(current, steps)
    size = current[0].numel()
    with _on(current):
        kernels.lif_sequence[(triton.cdiv(size, BLOCK),)](
            current.detach(),
            spikes,
            *_neuron(settings),
            steps,
            size,
            SOFT=settings.reset == "soft",
            CONSTANT=len(current) == 1,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return spikes


def _gradient(
    current: Tensor, grad_spikes: Tensor, settings: LIFSettings, surrogate: Surrogate, carry: float, reset: float
) -> Tensor:
    steps, size = len(grad_spikes), current[0].numel()
    grad_current = like_steps(current, len(current))
    programs = min(triton.cdiv(size, BLOCK), PROGRAMS)
    kind, peak, sharpness = shape_of(surrogate)
    with _on(current):
        kernels.lif_sequence_backward[(programs,)](
            current,
            like_steps(current, steps).copy_(grad_spikes),
            grad_current,
            torch.empty(programs * steps * BLOCK, device=current.device),
            *_neuron(settings),
            peak,
            sharpness,
            float(carry),
            reset,
            steps,
            size,
            KIND=kind,
            SOFT=settings.reset == "soft",
            CONSTANT=len(current) == 1,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return grad_current


def _on(x: Tensor) -> AbstractContextManager[Any]:
    """Make the device of x the one that kernels are launched on."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _neuron(settings: LIFSettings) -> tuple[float, float, float]:
    return float(settings.decay), float(settings.v_th), float(settings.v_reset)


def _vector(x: Tensor | None, instead: Tensor) -> Tensor:
    """Return one value a channel, in a row; `instead`, which the kernel will not touch, for none."""
    return instead if x is None else x.detach().float().contiguous()


def _in_order(x: Tensor, last: bool) -> Tensor:
    """Return x [B, C, ...] as it lies in memory channels_last, or as it is written."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if last else x.contiguous()


def _new(z: Tensor, lead: list[int], size: Sequence[int], dtype: torch.dtype, last: bool) -> Tensor:
    """Return an empty output [*lead, C, *size] on the device of z [S, B, C, ...], in its memory order."""
    if last:
        return z.new_empty([*lead, *size, z.shape[2]], dtype=dtype).movedim(-1, len(lead))
    return z.new_empty([*lead, z.shape[2], *size], dtype=dtype)


def _channel_sums(kernel: Any, inputs: tuple[Tensor, ...], z: Tensor, pixels: int) -> Tensor:
    """Return two sums a channel, [2, C] in float64, that a kernel takes over the pixels of z [S, B, C, ...]."""
    channels = z.shape[2]
    inner = 1 if is_channels_last(z) else z[0, 0, 0].numel()
    share = triton.cdiv(triton.cdiv(pixels, SHARES), ROWS) * ROWS
    shares = triton.cdiv(pixels, share)
    sums = torch.empty(shares, 2, channels, dtype=torch.float64, device=z.device)
    with _on(z):
        kernel[(shares, triton.cdiv(channels, COLUMNS))](
            *inputs, sums, pixels, channels, inner, share, ROWS=ROWS, COLUMNS=COLUMNS, enable_fp_fusion=False
        )
    return sums.sum(0)
