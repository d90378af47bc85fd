"""The CPU fast path: tensors in and out of the compiled kernels. Imported only when it runs, for it loads Numba."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numba
import numpy as np
import torch
from torch import Tensor

from snnhll.ops import compiled
from snnhll.ops.layout import like_steps, steps_flat
from snnhll.ops.reference import average_pool, in_channels_last
from snnhll.ops.sequence import carried
from snnhll.ops.shapes import shape_of
from snnhll.ops.signature import BatchNormalisation, LIFSettings, Pass, normalisation_terms
from snnhll.surrogates.surrogate import Surrogate

# Torch's wheels bring OpenMP, and Numba's OpenMP layer then runs on torch's own threads. Any other layer would start
# threads that compete with torch's, which go on spinning for a while after each of torch's operations.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

BLOCKS = 64
"""Partial sums at most, whatever the number of threads, so that the result does not depend on it."""

NARROWEST = 64
"""Channels the innermost loop of `moments` should find at least; fewer are taken together over several pixels."""

SEQUENCE_RUN = 4096
"""Membranes a run of the backward pass of `lif_sequence` should hold over all its steps: 16 KiB. It has at least 64
elements or, with a normalisation, one pixel."""

PIECE = 2**20
"""Elements of a gradient that is written out for a few images at a time: 2 MiB in bfloat16."""


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
    """`snnhll.ops.lif_pass` for z that `layout.is_channels_last` holds, float32 or bfloat16.

    `output_rate` is the very tensor `rate` where neither gate nor pool tells them apart.
    """
    channels, batch, size = z.shape[2], z.shape[1], list(z.shape[3:])
    pooled = [side // pool for side in size]
    spikes = _new([steps, batch], channels, pooled, z.dtype)
    rate = _new([batch], channels, size, torch.float32)
    output_rate = rate
    if gate is not None or pool > 1:
        output_rate = _new([batch], channels, pooled, torch.float32)
    means: list[Tensor | None] = [None, None, None]
    if gradient:
        wanted = 3 if input_means else 1
        means[:wanted] = (_new([batch], channels, size, torch.float32) for _ in range(wanted))
    out = (spikes, None if output_rate is rate else output_rate, rate, *means)
    height, width = size or (1, 1)
    extent = compiled.Extent(steps, z.shape[0], batch, height, width, channels, pool, gradient, input_means)
    pixels = max(compiled.RUN // channels, 1) + pool
    with _threads():
        compiled.lif_pass(
            _compiled_surrogate(surrogate),
            _neuron(settings),
            extent,
            _ONE[z.dtype],
            _flat(z),
            _tiled(scale, 1.0, channels, pixels),
            _tiled(shift, 0.0, channels, pixels),
            _gate(gate, z.dtype),
            tuple(_NOTHING if x is None else _flat(x) for x in out),
        )
    if means[2] is not None and z.shape[0] == 1:
        means[2].copy_(z[0])  # a mean of T equal numbers is that number, without rounding
    return Pass(spikes, output_rate, rate, *means)


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """`snnhll.ops.moments` for z that `layout.is_channels_last` holds, float32 or bfloat16.

    Sums are taken about the first pixel, so that a mean far from zero does not swallow the variance.
    """
    channels = z.shape[2]
    pixels = _flat(z).reshape(-1, channels)
    together = math.gcd(len(pixels), -(-NARROWEST // channels)) if channels < NARROWEST else 1
    pivot = _array(z.detach().movedim(2, -1).reshape(-1, channels)[0].float())
    sums = np.zeros((_blocks(len(pixels) // together), 2, together * channels))
    with _threads():
        compiled.moment_sums(pixels.reshape(-1, together * channels), np.tile(pivot, together), sums)
    first, second = sums.sum(0).reshape(2, together, channels).sum(1) / len(pixels)
    mean, var = torch.from_numpy(pivot + first), torch.from_numpy(second - first * first)
    return mean.float(), var.float()


def rate_gradient(
    grad: Tensor,
    slope: Tensor,
    slope_input: Tensor,
    mean_input: Tensor,
    norm: tuple[Tensor, Tensor, Tensor],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """`snnhll.ops.rate_gradient` for maps that `layout.is_channels_last` holds: one pass to sum, one to write."""
    channels = grad.shape[1]
    in_order = grad.movedim(1, -1).contiguous().movedim(-1, 1)
    pixels = [_pixels(x) for x in (in_order, slope, slope_input, mean_input)]
    sums = np.zeros((_blocks(len(pixels[0])), 2, channels))
    grad_z = torch.empty([grad.shape[0], *grad.shape[2:], channels], dtype=dtype).movedim(-1, 1)
    with _threads():
        compiled.rate_gradient_sums(*pixels[:3], sums)
        grad_beta, grad_input = torch.from_numpy(sums.sum(0)).float()
        terms = normalisation_terms(norm, grad_beta, grad_input, len(pixels[0]))
        vectors = (_array(x) for x in terms[:3])
        compiled.rate_gradient(_ONE[dtype], pixels[0], pixels[1], pixels[3], *vectors, _pixels(grad_z))
    return grad_z, terms.grad_gamma, grad_beta


def lif_sequence(
    z: Tensor,
    steps: int,
    settings: LIFSettings,
    surrogate: Surrogate,
    through_time: bool,
    detach_reset: bool,
    norm: BatchNormalisation | None = None,
) -> Tensor:
    """`snnhll.ops.lif_sequence` for z that `layout.steps_flat` can view, float32 or bfloat16.

    With a normalisation, for z that `layout.is_channels_last` holds.
    """
    how = settings, surrogate, *carried(settings, through_time, detach_reset)
    return cast(Tensor, _Fired.apply(z, *_terms(z, norm), steps, how))


def lif_pooled(
    z: Tensor, steps: int, settings: LIFSettings, surrogate: Surrogate, norm: BatchNormalisation, side: int
) -> tuple[Tensor, Tensor]:
    """`snnhll.ops.lif_pooled` for z that `layout.is_channels_last` holds, float32 or bfloat16."""
    how = settings, surrogate, 0.0, 0.0
    return cast(tuple[Tensor, Tensor], _Fired.apply(z, *_terms(z, norm), steps, how, side))


def lif_step(
    z: Tensor, v: Tensor | None, settings: LIFSettings, surrogate: Surrogate, norm: BatchNormalisation | None
) -> tuple[Tensor, Tensor]:
    """`snnhll.ops.lif_step` for z of one step as in `lif_sequence`, and v as it was returned."""
    alone = z.unsqueeze(0)
    rest = torch.empty_like(z, dtype=torch.float32)
    spikes = _Fired.apply(alone, *_terms(alone, norm), 1, (settings, surrogate, 0.0, 0.0), None, (v, rest))
    return spikes[0], rest


Affine = tuple[Tensor, Tensor, Tensor, Tensor]  # scale and shift of a normalisation, and μ and 1/σ they come from


def _terms(z: Tensor, norm: BatchNormalisation | None) -> tuple[Tensor | None, Tensor | None, Affine | None]:
    """γ, β and what they make of z."""
    return (None, None, None) if norm is None else (norm.gamma, norm.beta, norm.affine(z))


class _Fired(torch.autograd.Function):
    """Spikes of a current z or, with a normalisation, of sums z, with nothing kept but z.

    side: the spikes then have no gradient, and come with their average-pooled form, which has one. membranes: before
    the first step, None for zeros, and memory for those after the last.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        affine: Affine | None,
        steps: int,
        how: tuple[LIFSettings, Surrogate, float, float],
        side: int | None = None,
        membranes: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Tensor | tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, membranes[0], gamma, *(affine or ()))
        ctx.set_materialize_grads(False)
        ctx.steps, ctx.how, ctx.pooled = steps, how, side is not None
        spikes = like_steps(z, steps)
        with _threads():
            folded = _folded(affine, z.shape[2], compiled.RUN)
            states = (_state(v) for v in membranes)
            compiled.lif_sequence(_neuron(how[0]), _flat_array(z), *folded, _flat_array(spikes), *states)
        if side is None:
            return spikes
        ctx.mark_non_differentiable(spikes)
        return spikes, average_pool(spikes, side)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        given = grads[ctx.pooled]
        if given is None:
            return (None,) * 8
        z, start, gamma, *affine = ctx.saved_tensors
        pieces = _unpooled(given, z) if ctx.pooled else iter([given])
        grad, sums = _backward(z, start, ctx.steps, pieces, ctx.how, affine)
        if not affine:
            return grad, *(None,) * 7
        mean, inverse = affine[2:]
        channels = z.shape[2]
        grad_beta, grad_input = torch.from_numpy(sums.reshape(2, -1, channels).sum(1)).float()
        terms = normalisation_terms((gamma, mean, inverse), grad_beta, grad_input, z.numel() // channels)
        with _threads():
            pixels = (_flat(x).reshape(-1, channels) for x in (grad, z))
            compiled.through_norm(*pixels, *(_array(x) for x in terms[:3]))
        return grad, terms.grad_gamma, grad_beta, *(None,) * 5


def _unpooled(grad: Tensor, z: Tensor) -> Iterator[Tensor]:
    """Yield the gradient of maps for that of their average-pooled form [T, B, C, side, side], for a few images at a
    time, so that it never exists for all."""
    maps = list(z.shape[2:])
    for some in grad.split(max(1, PIECE // (len(grad) * math.prod(maps))), 1):
        flat = in_channels_last(some.flatten(0, 1))
        shape = _new([len(flat)], maps[0], maps[1:], flat.dtype)  # all that is read of what was pooled
        yield torch.ops.aten._adaptive_avg_pool2d_backward(flat, shape).unflatten(0, some.shape[:2])


def _backward(
    z: Tensor,
    start: Tensor | None,
    steps: int,
    pieces: Iterator[Tensor],
    how: tuple[LIFSettings, Surrogate, float, float],
    affine: Sequence[Tensor],
) -> tuple[Tensor, np.ndarray]:
    """Return the gradient of the current and, for each place of a run, the sums of it and of its products with z.

    pieces: the gradient of the spikes, of some images [T, b, ...] after others.
    """
    settings, surrogate, carry, reset = how
    grad = like_steps(z, len(z))
    scale, shift = _folded(affine, z.shape[2], max(64, SEQUENCE_RUN // steps))
    sums = np.zeros((min(BLOCKS, -(-z[0].numel() // scale.size)), 2, scale.size))
    first = 0
    for given in pieces:
        once = given[:1] if given.stride(0) == 0 else given  # the same at every step, as that of a mean over time
        with _threads():
            compiled.lif_sequence_backward(
                _neuron(settings),
                _compiled_surrogate(surrogate),
                (np.float32(carry), np.float32(reset)),
                steps,
                _flat_array(z),
                scale,
                shift,
                _state(start),
                (_flat_array(_laid_out(once, z)), first),
                _flat_array(grad),
                sums,
            )
        first += given[0].numel()
    return grad, sums.sum(0)


def _folded(affine: Sequence[Tensor] | None, channels: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a run of about so many elements; without a normalisation such that change nothing."""
    if not affine:
        return np.ones(length, np.float32), np.zeros(length, np.float32)
    scale, shift = (_tiled(x, 0.0, channels, max(length // channels, 1)) for x in affine[:2])
    return scale, shift


def _laid_out(x: Tensor, z: Tensor) -> Tensor:
    """Return x [S, B, ...] in the precision and memory order of z, itself if it is so already."""
    like = like_steps(z[:, : x.shape[1]], len(x))
    return x if x.dtype == z.dtype and x.stride() == like.stride() else like.copy_(x)


_NOTHING = np.empty(0, np.float32)
_ONE: dict[torch.dtype, Any] = {torch.float32: np.float32(1.0), torch.bfloat16: np.uint16(0x3F80)}  # as it is stored


def _blocks(rows: int) -> int:
    """Return into how many partial sums so many rows are cut."""
    return min(BLOCKS, -(-rows // compiled.FLUSH))


def _new(lead: list[int], channels: int, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return an empty output whose memory order is channels last, as the kernels write it."""
    return torch.empty([*lead, *size, channels], dtype=dtype).movedim(-1, len(lead))


@contextmanager
def _threads() -> Iterator[None]:
    """Use as many threads as torch does, and leave Numba's own setting as it was."""
    wanted = torch.get_num_threads()
    before = numba.get_num_threads()
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)  # Numba, starting its OpenMP threads, had set their number for torch as well
    ours = min(wanted, numba.config.NUMBA_NUM_THREADS)
    if ours == before:
        yield
        return
    numba.set_num_threads(ours)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _neuron(settings: LIFSettings) -> compiled.Neuron:
    keep, v_reset = (1.0, 0.0) if settings.reset == "soft" else (0.0, settings.v_reset)
    return compiled.Neuron(*(np.float32(x) for x in (settings.decay, settings.v_th, v_reset, keep)))


def _compiled_surrogate(surrogate: Surrogate) -> Any:
    """The class of `compiled` that stands for a surrogate, with its peak and rate."""
    kind, peak, rate = shape_of(surrogate)
    return getattr(compiled, kind)(np.float32(peak), np.float32(rate))


def _tiled(vector: Tensor | None, default: float, channels: int, pixels: int) -> np.ndarray:
    """One value a channel, repeated over the pixels of a run."""
    if vector is None:
        return np.full(pixels * channels, default, np.float32)
    return np.tile(_array(vector.detach().float()), pixels)


def _gate(gate: Tensor | None, dtype: torch.dtype) -> np.ndarray:
    """The gate in the order and precision of what is sent; empty for none."""
    if gate is None:
        return np.empty(0, _ONE[dtype].dtype)
    return _array(gate.movedim(1, -1).float().to(dtype).contiguous()).reshape(-1)


def _array(x: Tensor) -> np.ndarray:
    """NumPy's view of a tensor; bfloat16, which NumPy lacks, as its bits."""
    if x.requires_grad:
        x = x.detach()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def _flat(x: Tensor) -> np.ndarray:
    """All of a tensor whose memory order is channels last, in that order."""
    return _array(x.movedim(-3, -1) if x.dim() > 3 else x).reshape(-1)


def _pixels(x: Tensor) -> np.ndarray:
    """[B, C, ...] as [P, C], in its memory order."""
    return _flat(x).reshape(-1, x.shape[1])


def _state(v: Tensor | None) -> np.ndarray:
    """Membranes [B, ...] of one step, flat; empty for none."""
    return _NOTHING if v is None else _flat_array(v.unsqueeze(0))[0]


def _flat_array(x: Tensor) -> np.ndarray:
    view = steps_flat(x)
    assert view is not None, "the dispatch lets only layouts through that `steps_flat` can view"
    return _array(view)
