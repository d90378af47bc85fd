"""The kernels of the CPU fast path, compiled by Numba on first use and cached on disk.

Arrays are flat, in the order [S, B, H, W, C]: channels innermost, as channels_last stores them; a linear layer has
H = W = 1. A work item is one row of the output of one image. It is cut into runs short enough that membrane and sums
stay in the first-level cache over all T steps, so every input is read once and every output written once. bfloat16
travels as its 16 bits; arithmetic is float32. Without `fastmath` nothing is reassociated or fused, so spikes equal the
reference's exactly; only the exponential inside a surrogate derivative may fuse multiply and add.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

RUN = 1024
"""Elements a run holds at most (at least one pixel): their membranes and four sums take 20 KiB."""

SUMS = 5
"""Rows of a run's state: membrane, spikes, slope, slope times input, input."""

FLUSH = 16
"""Pixels summed in float32 before `moments` carries on in float64."""

_inner = njit(error_model="numpy")  # without Python's check for a zero divisor, which would keep loops from vectors


class Neuron(NamedTuple):
    """LIFSettings as the kernels take them: after a spike the membrane is keep * (u - v_th) + v_reset.

    keep = 1, v_reset = 0 is the soft reset, keep = 0 the hard one: one formula, so no branch in the loops.
    """

    decay: np.float32
    v_th: np.float32
    v_reset: np.float32
    keep: np.float32


class Extent(NamedTuple):
    """Sizes of a pass: T, S (1 or T), B, H, W, C, side of the pooling window; what it sums, as for `ops.lif_pass`."""

    steps: int
    inputs: int
    batch: int
    height: int
    width: int
    channels: int
    pool: int
    gradient: bool
    input_means: bool


# One class a surrogate: Numba compiles by type, so only the surrogate in use is compiled, without a switch inside.
# Derivative at x: `peak` times a shape of `rate * |x|`.
class Sigmoid(NamedTuple):
    peak: np.float32
    rate: np.float32


class Boxcar(NamedTuple):
    peak: np.float32
    rate: np.float32


class Triangle(NamedTuple):
    peak: np.float32
    rate: np.float32


class Exponential(NamedTuple):
    peak: np.float32
    rate: np.float32


class Arctangent(NamedTuple):
    peak: np.float32
    rate: np.float32


@njit(fastmath={"contract"}, error_model="numpy")
def _exp2(y: Any) -> Any:
    """2^y for y <= 0, relative error below 3e-7, without a call: the compiler turns the loop around it into vectors.

    Adding 1.5 * 2^23 rounds y to the integer n in the low bits of the sum; 2^n is n in a float's exponent field; what
    is left, within 1/2 of 0, goes through a least-maximum polynomial.
    """
    magic = np.float32(12582912.0)
    y = max(y, np.float32(-126.0))
    rounded = np.float32(y + magic)
    f = y - (rounded - magic)
    p = np.float32(0.00132647273)
    p = p * f + np.float32(0.00967151299)
    p = p * f + np.float32(0.0555073358)
    p = p * f + np.float32(0.240222424)
    p = p * f + np.float32(0.693147004)
    p = np.float32(p * f + np.float32(1.0))
    exponent = np.int32(rounded.view(np.int32) << np.int32(23))
    return np.int32(p.view(np.int32) + exponent).view(np.float32)


def _shape_of(surrogate: Any, x: Any) -> Any:
    """Surrogate derivative at x over its peak. Numba takes the implementation of the surrogate's class from below."""
    raise NotImplementedError


@overload(_shape_of)
def _shape_of_class(surrogate: Any, x: Any) -> Any:
    def sigmoid(surrogate: Any, x: Any) -> Any:
        e = _exp2(-abs(x) * surrogate.rate)
        return e / ((np.float32(1.0) + e) * (np.float32(1.0) + e))

    def boxcar(surrogate: Any, x: Any) -> Any:
        return np.float32(1.0) if abs(x) <= surrogate.rate else np.float32(0.0)

    def triangle(surrogate: Any, x: Any) -> Any:
        return max(np.float32(0.0), np.float32(1.0) - abs(x) * surrogate.rate)

    def exponential(surrogate: Any, x: Any) -> Any:
        return _exp2(-abs(x) * surrogate.rate)

    def arctangent(surrogate: Any, x: Any) -> Any:
        y = x * surrogate.rate
        return np.float32(1.0) / (np.float32(1.0) + y * y)

    shapes = {Sigmoid: sigmoid, Boxcar: boxcar, Triangle: triangle, Exponential: exponential, Arctangent: arctangent}
    return shapes[surrogate.instance_class]


def _widen(x: Any) -> Any:
    """Float32 value of a stored number."""
    raise NotImplementedError


@overload(_widen)
def _widen_stored(x: Any) -> Any:
    def bfloat16(x: Any) -> Any:
        return np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)

    def float32(x: Any) -> Any:
        return x

    return bfloat16 if x == types.uint16 else float32


def _store(like: Any, value: Any) -> Any:
    """`value`, a float32, as a number stored like `like`: bfloat16 rounds to nearest even."""
    raise NotImplementedError


@overload(_store)
def _store_like(like: Any, value: Any) -> Any:
    def bfloat16(like: Any, value: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        nearest = np.uint32(bits + np.uint32(0x7FFF) + (np.uint32(bits >> np.uint32(16)) & np.uint32(1)))
        return np.uint16(nearest >> np.uint32(16)) if value == value else np.uint16(0x7FC0)

    def float32(like: Any, value: Any) -> Any:
        return np.float32(value)

    return bfloat16 if like == types.uint16 else float32


@_inner
def _membrane(neuron: Neuron, v: Any, current: Any) -> Any:
    return neuron.decay * v + current


@_inner
def _after(neuron: Neuron, u: Any, x: Any) -> Any:
    """Membrane after the reset, where x = u - v_th."""
    return x * neuron.keep + neuron.v_reset if x >= np.float32(0.0) else u


@_inner
def _advance(neuron, u, on, state, spikes, i):  # type: ignore[no-untyped-def]
    """Fire, count and reset neuron i, whose membrane has come to u; return u - v_th."""
    x = u - neuron.v_th
    spikes[i] = on[i] if x >= np.float32(0.0) else on.dtype.type(0)
    state[1, i] += np.float32(1.0) if x >= np.float32(0.0) else np.float32(0.0)
    state[0, i] = _after(neuron, u, x)
    return x


@_inner
def _step(neuron, z, on, scale, shift, state, spikes):  # type: ignore[no-untyped-def]
    """One step of one run: `on` is what a spike is sent as, `state` holds membrane and sums over time as in `_run`."""
    for i in range(spikes.size):
        _advance(neuron, _membrane(neuron, state[0, i], _widen(z[i]) * scale[i] + shift[i]), on, state, spikes, i)


@_inner
def _step_with_slope(surrogate, neuron, z, on, scale, shift, state, spikes):  # type: ignore[no-untyped-def]
    """`_step`, and the sum over time that a rate-based gradient needs."""
    for i in range(spikes.size):
        u = _membrane(neuron, state[0, i], _widen(z[i]) * scale[i] + shift[i])
        state[2, i] += _shape_of(surrogate, _advance(neuron, u, on, state, spikes, i))


@_inner
def _step_with_inputs(surrogate, neuron, z, on, scale, shift, state, spikes):  # type: ignore[no-untyped-def]
    """`_step_with_slope`, and the sums that the gradient through a normalisation of z needs besides."""
    for i in range(spikes.size):
        raw = _widen(z[i])
        u = _membrane(neuron, state[0, i], raw * scale[i] + shift[i])
        derivative = _shape_of(surrogate, _advance(neuron, u, on, state, spikes, i))
        state[2, i] += derivative
        state[3, i] += derivative * raw
        state[4, i] += raw


@_inner
def _mean(out, total, steps):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = total[i] / steps


@_inner
def _fill(x, value):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        x[i] = value


@_inner
def _clear(x):  # type: ignore[no-untyped-def]
    _fill(x, np.float32(0.0))


@_inner
def _add(total, stored):  # type: ignore[no-untyped-def]
    for i in range(stored.size):
        total[i] += _widen(stored[i])


@_inner
def _copy(to, stored):  # type: ignore[no-untyped-def]
    for i in range(to.size):
        to[i] = stored[i]


@_inner
def _raise_to(largest, other):  # type: ignore[no-untyped-def]
    for i in range(largest.size):
        largest[i] = largest[i] if _widen(largest[i]) >= _widen(other[i]) else other[i]


@_inner
def _pool(rows, channels, out):  # type: ignore[no-untyped-def]
    """Max over the k rows [k, n], then over k neighbouring pixels, into `out`; what does not fill a window is left."""
    k = rows.shape[0]
    highest = rows[0]
    for dy in range(1, k):
        _raise_to(highest, rows[dy])
    for j in range(out.size // channels):
        pixel = out[j * channels : (j + 1) * channels]
        _copy(pixel, highest[j * k * channels : (j * k + 1) * channels])
        for dx in range(1, k):
            _raise_to(pixel, highest[(j * k + dx) * channels : (j * k + dx + 1) * channels])


@_inner
def _run(surrogate, neuron, extent, one, z, scale, shift, gate, out, b, row, x0, columns):  # type: ignore[no-untyped-def]
    """All steps of some columns of one output row of image b: k input rows, fewer where the map leaves a remainder."""
    steps, inputs, batch, height, width, channels, k, gradient, input_means = extent
    spikes, output_rate = out[0], out[1]
    n = columns * channels
    rows = min(k, height - row * k)
    image = height * width * channels
    first = ((b * height + row * k) * width + x0) * channels  # of this run, in one step
    state = np.empty((rows, SUMS, n), np.float32)
    on, sent = np.empty((rows, n), z.dtype), np.empty((rows, n), z.dtype)
    for dy in range(rows):
        for part in range(SUMS):
            _clear(state[dy, part])
        begin = first + dy * width * channels
        if gate.size > 0:
            _copy(on[dy], gate[begin : begin + n])
        else:
            _fill(on[dy], one)
    pooled_width = width // k
    pooled_image = height // k * pooled_width * channels
    sent_first = b * pooled_image + (row * pooled_width + x0 // k) * channels
    sent_n = columns // k * channels if rows == k else 0
    sent_total = np.empty(sent_n, np.float32)
    _clear(sent_total)
    for t in range(steps):
        sent_begin = t * batch * pooled_image + sent_first
        target = spikes[sent_begin : sent_begin + sent_n]
        for dy in range(rows):
            begin = first + dy * width * channels + (t * batch * image if inputs > 1 else 0)
            into = target if k == 1 else sent[dy]
            if gradient and input_means:
                _step_with_inputs(surrogate, neuron, z[begin : begin + n], on[dy], scale, shift, state[dy], into)
            elif gradient:
                _step_with_slope(surrogate, neuron, z[begin : begin + n], on[dy], scale, shift, state[dy], into)
            else:
                _step(neuron, z[begin : begin + n], on[dy], scale, shift, state[dy], into)
        if k > 1 and sent_n > 0:
            _pool(sent, channels, target)
        if output_rate.size > 0:
            _add(sent_total, target)
    for dy in range(rows):
        begin = first + dy * width * channels
        _mean(out[2][begin : begin + n], state[dy, 1], np.float32(steps))
        if gradient:
            _mean(out[3][begin : begin + n], state[dy, 2], np.float32(steps) / surrogate.peak)
        if gradient and input_means:
            _mean(out[4][begin : begin + n], state[dy, 3], np.float32(steps) / surrogate.peak)
            _mean(out[5][begin : begin + n], state[dy, 4], np.float32(steps))
    if output_rate.size > 0:
        _mean(output_rate[sent_first : sent_first + sent_n], sent_total, np.float32(steps))


@njit(parallel=True, cache=True, error_model="numpy")
def lif_pass(surrogate, neuron, extent, one, z, scale, shift, gate, out):  # type: ignore[no-untyped-def]
    """Fill the flat arrays of `out`, ordered as `Pass`. Empty arrays stand for no gate and for outputs not wanted."""
    width, k = extent.width, extent.pool
    rows = (extent.height + k - 1) // k
    columns = max(RUN // (k * k * extent.channels), 1) * k
    for item in prange(extent.batch * rows):
        for x0 in range(0, width, columns):
            b, row = item // rows, item % rows
            _run(surrogate, neuron, extent, one, z, scale, shift, gate, out, b, row, x0, min(columns, width - x0))


@_inner
def _block_sums(z, pivot, sums):  # type: ignore[no-untyped-def]
    n = pivot.size
    first, second = np.empty(n, np.float32), np.empty(n, np.float32)
    for begin in range(0, z.shape[0], FLUSH):
        _clear(first)
        _clear(second)
        for p in range(begin, min(begin + FLUSH, z.shape[0])):
            pixel = z[p]
            for c in range(n):
                d = _widen(pixel[c]) - pivot[c]
                first[c] += d
                second[c] += d * d
        for c in range(n):
            sums[0, c] += first[c]
            sums[1, c] += second[c]


@njit(parallel=True, cache=True, error_model="numpy")
def moment_sums(z, pivot, sums):  # type: ignore[no-untyped-def]
    """Add to `sums` [blocks, 2, C] the sums of z - pivot and of its square, over blocks of the pixels of z [P, C]."""
    size = (z.shape[0] + sums.shape[0] - 1) // sums.shape[0]
    for block in prange(sums.shape[0]):
        _block_sums(z[block * size : (block + 1) * size], pivot, sums[block])


@_inner
def _begin(v, start, begin, end):  # type: ignore[no-untyped-def]
    if start.size == 0:
        _clear(v)
    else:
        for i in range(end - begin):
            v[i] = start[begin + i]


@_inner
def _sequence_run(neuron, z, scale, shift, spikes, start, rest, v, begin, end):  # type: ignore[no-untyped-def]
    one, off = _store(spikes[0, 0], np.float32(1.0)), spikes.dtype.type(0)
    _begin(v, start, begin, end)
    for t in range(spikes.shape[0]):
        now = z[t if z.shape[0] > 1 else 0, begin:end]
        sent = spikes[t, begin:end]
        for i in range(sent.size):
            u = _membrane(neuron, v[i], _widen(now[i]) * scale[i] + shift[i])
            x = u - neuron.v_th
            sent[i] = one if x >= np.float32(0.0) else off
            v[i] = _after(neuron, u, x)
    if rest.size > 0:
        rest[begin:end] = v


@njit(parallel=True, cache=True, error_model="numpy")
def lif_sequence(neuron, z, scale, shift, spikes, start, rest):  # type: ignore[no-untyped-def]
    """Spikes [T, N] of the current z * scale + shift, z [S, N], cut into runs as long as `scale` and `shift`.

    start, rest: the membranes [N] before the first step and after the last; empty for zeros, and where nobody asks.
    """
    run = scale.size
    for item in prange((spikes.shape[1] + run - 1) // run):
        begin, end = item * run, min((item + 1) * run, spikes.shape[1])
        v = np.empty(end - begin, np.float32)
        _sequence_run(neuron, z, scale, shift, spikes, start, rest, v, begin, end)


# The compiler makes vectors of a loop only if few pairs of its arrays could overlap: hence several loops for one step.


@_inner
def _keep_membranes(neuron, z, scale, shift, v, saved):  # type: ignore[no-untyped-def]
    for i in range(z.size):
        u = _membrane(neuron, v[i], _widen(z[i]) * scale[i] + shift[i])
        saved[i] = u
        v[i] = _after(neuron, u, u - neuron.v_th)


@_inner
def _step_back(neuron, surrogate, through, saved, given, g):  # type: ignore[no-untyped-def]
    """The gradient `g` of the membrane of a step, from that of the next step and that `given` at the spikes."""
    carry, through_reset = through
    for i in range(given.size):
        u = saved[i]
        x = u - neuron.v_th
        after = carry * g[i]  # gradient of the membrane after the reset, from the next step
        by_spike = (x * neuron.keep + neuron.v_reset - u) * through_reset
        kept = after * neuron.keep if x >= np.float32(0.0) else after
        derivative = surrogate.peak * _shape_of(surrogate, x)
        g[i] = kept + derivative * (_widen(given[i]) + by_spike * after)


@_inner
def _add_products(g, z, total, total_input):  # type: ignore[no-untyped-def]
    for i in range(z.size):
        total[i] += g[i]
        total_input[i] += g[i] * _widen(z[i])


@_inner
def _store_row(values, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = _store(out[i], values[i])


@_inner
def _backward_run(neuron, surrogate, through, z, scale, shift, start, given, grad, sums, work, begin, end):  # type: ignore[no-untyped-def]
    grad_spikes, first = given
    steps = work.shape[0] - 2
    constant, constant_grad = z.shape[0] == 1, grad_spikes.shape[0] == 1
    v, g = work[steps], work[steps + 1]
    _begin(v, start, begin, end)
    _clear(g)
    for t in range(steps):
        _keep_membranes(neuron, z[0 if constant else t, begin:end], scale, shift, v, work[t])
    for t in range(steps - 1, -1, -1):
        now = grad_spikes[0 if constant_grad else t, begin - first : end - first]
        _step_back(neuron, surrogate, through, work[t], now, g)
        _add_products(g, z[0 if constant else t, begin:end], sums[0], sums[1])
        if not constant:
            _store_row(g, grad[t, begin:end])
    if constant:
        _store_row(sums[0], grad[0, begin:end])


@_inner
def _backward_block(neuron, surrogate, through, steps, z, scale, shift, start, given, grad, sums, begin, end):  # type: ignore[no-untyped-def]
    run = scale.size
    work, own = np.empty((steps + 2, run), np.float32), np.empty((2, run), np.float32)
    for here in range(begin, end, run):
        _clear(own[0])
        _clear(own[1])
        last = min(here + run, end)
        _backward_run(neuron, surrogate, through, z, scale, shift, start, given, grad, own, work, here, last)
        for i in range(run):
            sums[0, i] += own[0, i]
            sums[1, i] += own[1, i]


@njit(parallel=True, cache=True, error_model="numpy")
def lif_sequence_backward(neuron, surrogate, through, steps, z, scale, shift, start, given, grad, sums):  # type: ignore[no-untyped-def]
    """Gradient [S, N] of the current z * scale + shift at n places.

    given: the gradient of the spikes there, [T, n], or [1, n] if no step differs, and the first place. `start`: as for
    `lif_sequence`; it gets no gradient. The membrane is computed again, not stored. `through`: the decay where the
    gradient goes through time and 0 where not; 1 where it also goes through the spike that resets, else 0. Adds to
    `sums` [blocks, 2, run] the sums of that gradient, and of it times z, over the runs of each block.
    """
    grad_spikes, first = given
    run, size = scale.size, grad_spikes.shape[1]
    block = (size // run + sums.shape[0]) // sums.shape[0] * run
    for i in prange(sums.shape[0]):
        begin, end = first + i * block, first + min((i + 1) * block, size)
        _backward_block(neuron, surrogate, through, steps, z, scale, shift, start, given, grad, sums[i], begin, end)


@_inner
def _through_norm(grad, z, factor, constant, linear):  # type: ignore[no-untyped-def]
    for c in range(factor.size):
        value = _widen(grad[c]) - constant[c] - _widen(z[c]) * linear[c]
        grad[c] = _store(grad[c], value * factor[c])


@njit(parallel=True, cache=True, error_model="numpy")
def through_norm(grad, z, factor, constant, linear):  # type: ignore[no-untyped-def]
    """In place, grad [P, C] = (grad - constant - z * linear) * factor, the last three one value a channel."""
    for p in prange(grad.shape[0]):
        _through_norm(grad[p], z[p], factor, constant, linear)


@_inner
def _block_gradient_sums(grad, slope, slope_input, sums):  # type: ignore[no-untyped-def]
    channels = grad.shape[1]
    partial = np.empty((2, channels), np.float32)
    for first in range(0, grad.shape[0], FLUSH):
        _clear(partial[0])
        _clear(partial[1])
        for p in range(first, min(first + FLUSH, grad.shape[0])):
            for c in range(channels):
                partial[0, c] += grad[p, c] * slope[p, c]
                partial[1, c] += grad[p, c] * slope_input[p, c]
        for c in range(channels):
            sums[0, c] += partial[0, c]
            sums[1, c] += partial[1, c]


@njit(parallel=True, cache=True, error_model="numpy")
def rate_gradient_sums(grad, slope, slope_input, sums):  # type: ignore[no-untyped-def]
    """Add to `sums` [blocks, 2, C] the sums of grad * slope and grad * slope_input over blocks of the pixels [P, C]."""
    size = (grad.shape[0] + sums.shape[0] - 1) // sums.shape[0]
    for block in prange(sums.shape[0]):
        rows = slice(block * size, (block + 1) * size)
        _block_gradient_sums(grad[rows], slope[rows], slope_input[rows], sums[block])


@_inner
def _gradient_row(one, grad, slope, mean_input, factor, constant, linear, out):  # type: ignore[no-untyped-def]
    for c in range(out.size):
        value = grad[c] * slope[c] - constant[c] - mean_input[c] * linear[c]
        out[c] = _store(one, value * factor[c])


@njit(parallel=True, cache=True, error_model="numpy")
def rate_gradient(one, grad, slope, mean_input, factor, constant, linear, out):  # type: ignore[no-untyped-def]
    """out [P, C] = (grad * slope - constant - mean_input * linear) * factor, the last three one value a channel."""
    for p in prange(out.shape[0]):
        _gradient_row(one, grad[p], slope[p], mean_input[p], factor, constant, linear, out[p])
