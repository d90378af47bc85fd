"""The kernels of the CUDA fast path, in Triton.

Maps are walked in the order they lie in memory: channels innermost (`LAST`, channels_last) or pixels innermost. All T
steps of a neuron run in one program with its membrane and its sums in registers, so every input is read once and every
output written once. Arithmetic is float32 whatever the inputs are stored as. Launched with `enable_fp_fusion=False`
nothing is fused, and divisions are rounded, so spikes and rates equal the reference's exactly; only the smooth
surrogate derivatives, and sums taken in another order, differ by rounding.

Offsets within one time step are 32-bit; from step to step the pointers themselves move on.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _shape_of(x, rate, KIND: tl.constexpr):  # type: ignore[no-untyped-def]
    """Surrogate derivative at x over its peak; `shapes.Shape` says what the kinds are."""
    if KIND == "Boxcar":
        y = tl.where(tl.abs(x) <= rate, 1.0, 0.0)
    elif KIND == "Triangle":
        y = tl.maximum(1.0 - tl.abs(x) * rate, 0.0)
    elif KIND == "Arctangent":
        y = 1.0 / (1.0 + x * rate * x * rate)
    elif KIND == "Sigmoid":
        e = tl.exp2(-tl.abs(x) * rate)
        y = e / ((1.0 + e) * (1.0 + e))
    else:
        tl.static_assert(KIND == "Exponential")
        y = tl.exp2(-tl.abs(x) * rate)
    return y


@triton.jit
def _after(u, x, v_reset, SOFT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Membrane of a neuron that fired, where x = u - v_th."""
    return x if SOFT else tl.zeros_like(u) + v_reset


@triton.jit
def lif_pass(  # type: ignore[no-untyped-def]
    z,
    scale,
    shift,
    gate,
    spikes,
    output_rate,
    rate,
    slope,
    slope_input,
    mean_input,
    decay,
    v_th,
    v_reset,
    peak,
    sharpness,
    duration,
    steps,
    cells,
    height,
    width,
    channels,
    size,
    sent_size,
    KIND: tl.constexpr,
    SOFT: tl.constexpr,
    SCALED: tl.constexpr,
    GATED: tl.constexpr,
    AVERAGED: tl.constexpr,
    GRADIENT: tl.constexpr,
    INPUT_MEANS: tl.constexpr,
    CONSTANT: tl.constexpr,
    LAST: tl.constexpr,
    POOL: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Fill the outputs of `Pass`. A cell is one pooling window of one channel: POOL x POOL pixels, fewer at the edge.

    duration: T as a number with a point. size, sent_size: values a step of z and of spikes. WINDOW: pixels of a cell,
    rounded up to a power of 2. AVERAGED: output_rate is wanted. Pointers that are not wanted are not touched.
    """
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    down, across = (height + POOL - 1) // POOL, (width + POOL - 1) // POOL
    if LAST:
        c, pixel = cell % channels, cell // channels
        x, y, b = pixel % across, pixel // across % down, pixel // across // down
        sent_at = ((b * (height // POOL) + y) * (width // POOL) + x) * channels + c
    else:
        x, y, plane = cell % across, cell // across % down, cell // across // down
        c, b = plane % channels, plane // channels
        sent_at = (plane * (height // POOL) + y) * (width // POOL) + x
    complete = (cell < cells) & (y < height // POOL) & (x < width // POOL)
    place = tl.arange(0, WINDOW)[:, None]
    row, column = y[None, :] * POOL + place // POOL, x[None, :] * POOL + place % POOL
    inside = (cell < cells)[None, :] & (place < POOL * POOL) & (row < height) & (column < width)
    if LAST:
        at = ((b[None, :] * height + row) * width + column) * channels + c[None, :]
    else:
        at = (plane[None, :] * height + row) * width + column
    if SCALED:
        times = tl.load(scale + c, cell < cells, 0.0)[None, :]
        plus = tl.load(shift + c, cell < cells, 0.0)[None, :]
    on = tl.load(gate + at, inside, 0.0).to(tl.float32) if GATED else tl.full([WINDOW, BLOCK], 1.0, tl.float32)

    v = tl.zeros([WINDOW, BLOCK], tl.float32)
    fired, slopes, inputs, total = v, v, v, v
    arrived = tl.zeros([BLOCK], tl.float32)
    for _ in range(steps):
        raw = tl.load(z + at, inside, 0.0).to(tl.float32)
        current = raw
        if SCALED:
            current = raw * times + plus
        u = decay * v + current
        over = u - v_th
        fires = over >= 0.0
        v = tl.where(fires, _after(u, over, v_reset, SOFT), u)
        fired += tl.where(fires, 1.0, 0.0)
        sent = tl.max(tl.where(inside, tl.where(fires, on, 0.0), float("-inf")), 0)
        tl.store(spikes + sent_at, sent.to(spikes.dtype.element_ty), complete)
        arrived += sent
        if GRADIENT:
            derivative = _shape_of(over, sharpness, KIND)
            slopes += derivative
            if INPUT_MEANS:
                inputs += derivative * raw
                total += raw
        spikes += sent_size
        if not CONSTANT:
            z += size

    tl.store(rate + at, tl.div_rn(fired, duration), inside)
    if AVERAGED:
        tl.store(output_rate + sent_at, tl.div_rn(arrived, duration), complete)
    if GRADIENT:
        tl.store(slope + at, slopes * peak / duration, inside)
    if INPUT_MEANS:
        tl.store(slope_input + at, inputs * peak / duration, inside)
        # the mean of T equal numbers is that number, without rounding
        mean = tl.load(z + at, inside, 0.0).to(tl.float32) if CONSTANT else total / duration
        tl.store(mean_input + at, mean, inside)


@triton.jit
def moment_sums(z, pivot, sums, pixels, channels, inner, share, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sums over a share of the pixels of z - pivot and its square, into sums [shares, 2, C], float64.

    z: [pixels / inner, C, inner] in memory. ROWS values are added in float32 before float64 carries on.
    """
    part = tl.program_id(0)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    about = tl.load(pivot + c, c < channels, 0.0)[None, :]
    first, second = tl.zeros([COLUMNS], tl.float64), tl.zeros([COLUMNS], tl.float64)
    for begin in range(part * share, tl.minimum((part + 1) * share, pixels), ROWS):
        p = (begin + tl.arange(0, ROWS))[:, None]
        inside = (p < pixels) & (c < channels)[None, :]
        at = (p // inner).to(tl.int64) * channels * inner + c[None, :] * inner + p % inner
        d = tl.where(inside, tl.load(z + at, inside, 0.0).to(tl.float32) - about, 0.0)
        first += tl.sum(d, 0).to(tl.float64)
        second += tl.sum(d * d, 0).to(tl.float64)
    tl.store(sums + part * 2 * channels + c, first, c < channels)
    tl.store(sums + (part * 2 + 1) * channels + c, second, c < channels)


@triton.jit
def gradient_sums(  # type: ignore[no-untyped-def]
    grad, slope, slope_input, sums, pixels, channels, inner, share, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Sums over a share of the pixels of grad * slope and grad * slope_input, laid out as in `moment_sums`."""
    part = tl.program_id(0)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    first, second = tl.zeros([COLUMNS], tl.float64), tl.zeros([COLUMNS], tl.float64)
    for begin in range(part * share, tl.minimum((part + 1) * share, pixels), ROWS):
        p = (begin + tl.arange(0, ROWS))[:, None]
        inside = (p < pixels) & (c < channels)[None, :]
        at = (p // inner).to(tl.int64) * channels * inner + c[None, :] * inner + p % inner
        g = tl.load(grad + at, inside, 0.0).to(tl.float32)
        first += tl.sum(g * tl.load(slope + at, inside, 0.0), 0).to(tl.float64)
        second += tl.sum(g * tl.load(slope_input + at, inside, 0.0), 0).to(tl.float64)
    tl.store(sums + part * 2 * channels + c, first, c < channels)
    tl.store(sums + (part * 2 + 1) * channels + c, second, c < channels)


@triton.jit
def rate_gradient(  # type: ignore[no-untyped-def]
    grad, slope, mean_input, factor, constant, linear, out, size, channels, inner, BLOCK: tl.constexpr
):
    """out = (grad * slope - constant - mean_input * linear) * factor, the last three one value a channel."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    c = i // inner % channels
    value = tl.load(grad + i, inside, 0.0).to(tl.float32) * tl.load(slope + i, inside, 0.0)
    value -= tl.load(constant + c, inside, 0.0)
    value -= tl.load(mean_input + i, inside, 0.0) * tl.load(linear + c, inside, 0.0)
    tl.store(out + i, (value * tl.load(factor + c, inside, 0.0)).to(out.dtype.element_ty), inside)


@triton.jit
def lif_sequence(  # type: ignore[no-untyped-def]
    current,
    spikes,
    decay,
    v_th,
    v_reset,
    steps,
    size,
    SOFT: tl.constexpr,
    CONSTANT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Spikes [T, size] of the current [S, size]."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    v = tl.zeros([BLOCK], tl.float32)
    for _ in range(steps):
        u = decay * v + tl.load(current + i, inside, 0.0).to(tl.float32)
        over = u - v_th
        fires = over >= 0.0
        v = tl.where(fires, _after(u, over, v_reset, SOFT), u)
        tl.store(spikes + i, tl.where(fires, 1.0, 0.0).to(spikes.dtype.element_ty), inside)
        spikes += size
        if not CONSTANT:
            current += size


@triton.jit
def lif_sequence_backward(  # type: ignore[no-untyped-def]
    current,
    grad_spikes,
    grad_current,
    membranes,
    decay,
    v_th,
    v_reset,
    peak,
    sharpness,
    carry,
    through_reset,
    steps,
    size,
    KIND: tl.constexpr,
    SOFT: tl.constexpr,
    CONSTANT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradient of the current [S, size] from that of the spikes [T, size]; the membrane is computed again, not stored.

    `carry` is the decay where the gradient goes through time and 0 where not; `through_reset` is 1 where it also goes
    through the spike that resets, else 0. membranes: [programs, T, BLOCK] float32; a program works through many
    blocks with the same piece of it, which then stays in the cache.
    """
    lane = tl.arange(0, BLOCK)
    own = membranes + tl.program_id(0).to(tl.int64) * steps * BLOCK + lane
    for block in range(tl.program_id(0), tl.cdiv(size, BLOCK), tl.num_programs(0)):
        i = block * BLOCK + lane
        inside = i < size
        now, above, out, saved = current + i, grad_spikes + i, grad_current + i, own
        v = tl.zeros([BLOCK], tl.float32)
        for _ in range(steps):
            u = decay * v + tl.load(now, inside, 0.0).to(tl.float32)
            tl.store(saved, u)
            over = u - v_th
            v = tl.where(over >= 0.0, _after(u, over, v_reset, SOFT), u)
            above += size
            saved += BLOCK
            if not CONSTANT:
                now += size
                out += size
        tl.debug_barrier()  # what one thread stored another may load
        g = tl.zeros([BLOCK], tl.float32)  # gradient of the membrane at the step after
        total = g
        for _ in range(steps):
            above -= size
            saved -= BLOCK
            u = tl.load(saved)
            over = u - v_th
            after = carry * g
            kept = after if SOFT else tl.where(over >= 0.0, 0.0, after)
            by_spike = (_after(u, over, v_reset, SOFT) - u) * through_reset
            grad = tl.load(above, inside, 0.0).to(tl.float32)
            g = kept + peak * _shape_of(over, sharpness, KIND) * (grad + by_spike * after)
            total += g
            if not CONSTANT:
                out -= size
                tl.store(out, g.to(grad_current.dtype.element_ty), inside)
        if CONSTANT:
            tl.store(out, total.to(grad_current.dtype.element_ty), inside)
        tl.debug_barrier()  # before the next block overwrites the membranes
