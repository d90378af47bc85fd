"""The pass of `snnhll.ops.lif_pass`: the reference against the equations, the fast path against the reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnhll.errors import UserError
from snnhll.ops import LIFSettings, Pass, lif_pass, reference, which
from snnhll.surrogates.arctangent import Arctangent
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential
from snnhll.surrogates.sigmoid import Sigmoid
from snnhll.surrogates.surrogate import Surrogate
from snnhll.surrogates.triangle import Triangle

SOFT = LIFSettings(decay=math.exp(-1), v_th=1.0, reset="soft")
HARD = LIFSettings(decay=0.8, v_th=0.45, reset="hard", v_reset=-0.3)
SURROGATES = [Exponential(1.5), Sigmoid(4.0), Boxcar(0.3), Triangle(0.7), Arctangent(2.0)]


def maps(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Normal values [S, B, C, H, W] in channels_last order, as a convolution leaves them."""
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return z.movedim(2, -1).contiguous().movedim(-1, 2)


def normalisation(channels: int) -> tuple[Tensor, Tensor]:
    return torch.linspace(0.7, 1.6, channels), torch.linspace(-0.2, 0.9, channels)


def dropout(shape: tuple[int, ...], dtype: torch.dtype, p: float) -> Tensor:
    keep = torch.rand(shape, generator=torch.Generator().manual_seed(7)) >= p
    return (keep.float() / (1 - p)).to(dtype)


def assert_same(fast: Pass, truth: Pass) -> None:
    """What decides the next layer's input is equal to the bit; means of smooth quantities to float32 rounding."""
    for name in ("spikes", "output_rate", "rate"):
        a, b = getattr(fast, name), getattr(truth, name)
        assert a.dtype == b.dtype
        assert torch.equal(a, b), name
    for name in ("slope", "slope_input", "mean_input"):
        torch.testing.assert_close(getattr(fast, name), getattr(truth, name), rtol=1e-5, atol=1e-6)


def both(z: Tensor, steps: int, neuron: LIFSettings, surrogate: Surrogate, *rest: object) -> tuple[Pass, Pass]:
    assert which(z, surrogate) == "numba"
    fast = lif_pass(z, steps, neuron, surrogate, *rest)  # type: ignore[arg-type]
    return fast, reference.lif_pass(z, steps, neuron, surrogate, *rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("neuron", [SOFT, HARD], ids=["soft", "hard"])
@pytest.mark.parametrize("pool", [1, 2])
def test_reference_is_the_written_equations(neuron: LIFSettings, pool: int) -> None:
    """Every neuron on its own, in Python numbers: (3-1, 3-2), the sums, the gate and the pooling window by window."""
    T, B, C, H, W = 5, 2, 3, 4, 5
    z, (scale, shift) = maps((T, B, C, H, W), torch.float64), normalisation(C)
    gate, alpha = dropout((B, C, H, W), torch.float64, 0.3), 1.5
    got = reference.lif_pass(z, T, neuron, Exponential(alpha), scale, shift, gate, pool)
    spikes = np.zeros((T, B, C, H, W))
    for b, c, y, x in itertools.product(range(B), range(C), range(H), range(W)):
        v, rate, slope, slope_input, mean_input = 0.0, 0.0, 0.0, 0.0, 0.0
        for t in range(T):
            raw = float(z[t, b, c, y, x])
            u = neuron.decay * v + raw * float(scale[c]) + float(shift[c])
            fired = u >= neuron.v_th
            derivative = alpha * math.exp(-alpha * abs(u - neuron.v_th))
            v = u if not fired else u - neuron.v_th if neuron.reset == "soft" else neuron.v_reset
            spikes[t, b, c, y, x] = fired
            rate, mean_input = rate + fired / T, mean_input + raw / T
            slope, slope_input = slope + derivative / T, slope_input + derivative * raw / T
        at = (b, c, y, x)
        means = (got.rate, got.slope, got.slope_input, got.mean_input)
        for mean, expected in zip(means, (rate, slope, slope_input, mean_input), strict=True):
            assert mean is not None
            assert float(mean[at]) == pytest.approx(expected, abs=1e-12)
    sent = spikes * gate.numpy()
    h, w = H // pool, W // pool
    windows = sent[..., : h * pool, : w * pool].reshape(T, B, C, h, pool, w, pool).max(axis=(4, 6))
    np.testing.assert_array_equal(got.spikes.numpy(), windows)
    np.testing.assert_allclose(got.output_rate.numpy(), windows.mean(0), atol=1e-12)
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("neuron", [SOFT, HARD], ids=["soft", "hard"])
@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("inputs", [1, 6])
def test_fast_maps(dtype: torch.dtype, neuron: LIFSettings, pool: int, gated: bool, inputs: int) -> None:
    z, (scale, shift) = maps((inputs, 2, 20, 7, 9), dtype), normalisation(20)
    gate = dropout((2, 20, 7, 9), dtype, 0.1) if gated else None
    fast, truth = both(z, 6, neuron, Exponential(), scale, shift, gate, pool)
    assert_same(fast, truth)
    assert 0.05 < float(truth.rate.mean()) < 0.95


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: s.name)
def test_fast_surrogates(surrogate: Surrogate) -> None:
    assert_same(*both(maps((4, 3, 16, 5, 5), torch.float32), 4, SOFT, surrogate, None, None, None, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("inputs", [1, 4])
@pytest.mark.parametrize("features", [10, 1500])
def test_fast_linear(dtype: torch.dtype, inputs: int, features: int) -> None:
    z = torch.randn(inputs, 3, features, generator=torch.Generator().manual_seed(1)).to(dtype)
    gate = dropout((3, features), torch.float32, 0.2)
    assert_same(*both(z, 4, HARD, Exponential(), *normalisation(features), gate))
    assert_same(*both(z, 4, SOFT, Exponential()))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 9), st.integers(1, 40)),
    steps=st.integers(1, 5),
    constant=st.booleans(),
    pool=st.integers(1, 4),
    bf16=st.booleans(),
    decay=st.floats(0.0, 1.0),
    v_th=st.floats(0.1, 2.0),
    scaled=st.booleans(),
)
def test_fast_any_shape(
    shape: tuple[int, ...],
    steps: int,
    constant: bool,
    pool: int,
    bf16: bool,
    decay: float,
    v_th: float,
    scaled: bool,
) -> None:
    """Sizes that cut runs, rows and windows anywhere: runs end at ~1000 elements, windows drop what is left over."""
    pool = min(pool, *shape[2:])
    z = maps((1 if constant else steps, *shape), torch.bfloat16 if bf16 else torch.float32, seed=steps)
    scale, shift = normalisation(shape[1]) if scaled else (None, None)
    neuron = LIFSettings(decay, v_th, "soft")
    assert_same(*both(z, steps, neuron, Exponential(), scale, shift, None, pool))


def test_negative_gate_pools_to_the_larger() -> None:
    z = maps((3, 2, 8, 4, 4), torch.bfloat16)
    gate = -dropout((2, 8, 4, 4), torch.bfloat16, 0.0) * torch.rand(2, 8, 4, 4).bfloat16()
    assert_same(*both(z, 3, SOFT, Exponential(), None, None, gate, 2))


def test_constant_input_is_its_own_mean() -> None:
    z = torch.rand(1, 4, 33)
    got = lif_pass(z, 10, SOFT, Exponential())
    assert got.mean_input is not None
    assert torch.equal(got.mean_input, z[0])


def test_scale_rounds_before_shift_is_added() -> None:
    """(1 + 2^-12)^2 - 1 is 2^-11 + 2^-24; rounding the product to float32 loses the 2^-24."""
    z = torch.full((1, 1, 64), 1 + 2**-12)
    neuron = LIFSettings(decay=0.0, v_th=2**-11 + 2**-24, reset="soft")
    for path in (lif_pass, reference.lif_pass):
        assert not path(z, 1, neuron, Exponential(), z[0, 0], torch.full((64,), -1.0)).spikes.any()


def test_without_gradient_same_spikes_and_no_slopes() -> None:
    z = maps((4, 2, 16, 6, 6), torch.bfloat16)
    full, lean = (lif_pass(z, 4, SOFT, Exponential(), pool=2, gradient=g) for g in (True, False))
    assert torch.equal(full.spikes, lean.spikes)
    assert torch.equal(full.rate, lean.rate)
    assert (lean.slope, lean.slope_input, lean.mean_input) == (None, None, None)
    assert reference.lif_pass(z, 4, SOFT, Exponential(), gradient=False).slope is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_means_of_the_input_the_rest_is_the_same(dtype: torch.dtype) -> None:
    z = maps((4, 2, 16, 6, 6), dtype)
    for path in (lif_pass, reference.lif_pass):
        full, lean = (path(z, 4, SOFT, Exponential(), pool=2, input_means=wanted) for wanted in (True, False))
        for name in ("spikes", "output_rate", "rate", "slope"):
            assert torch.equal(getattr(full, name), getattr(lean, name)), name
        assert (lean.slope_input, lean.mean_input) == (None, None)


def test_memory_stays_channels_last() -> None:
    got = lif_pass(maps((4, 2, 16, 6, 6), torch.bfloat16), 4, SOFT, Exponential(), pool=2)
    assert got.spikes.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert got.rate.is_contiguous(memory_format=torch.channels_last)


def test_thread_count_changes_nothing() -> None:
    z = maps((4, 3, 16, 7, 7), torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = lif_pass(z, 4, SOFT, Exponential())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    many = lif_pass(z, 4, SOFT, Exponential())
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True) if a is not None and b is not None)


@pytest.mark.parametrize(
    ("shape", "arguments", "says"),
    [
        ((4, 2, 8), {"steps": 5}, "for 5 steps"),
        ((4, 2, 8), {"steps": 0}, "for 0 steps"),
        ((4, 2, 8), {"pool": 2}, "pool = 2"),
        ((4, 2, 8, 3, 3), {"pool": 4}, "expected 1 to 3"),
        ((4, 2, 8, 3), {}, "expected [S, B, F] or [S, B, C, H, W]"),
        ((4, 2, 8), {"scale": torch.ones(8)}, "scale and shift come together"),
        ((4, 2, 8), {"scale": torch.ones(2), "shift": torch.ones(2)}, "one value a channel, [8]"),
        ((4, 2, 8), {"gate": torch.ones(8)}, "that of one step of z, [2, 8]"),
    ],
)
def test_misfits_are_named(shape: tuple[int, ...], arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UserError) as error:
        lif_pass(torch.zeros(shape), **{"steps": 4, "settings": SOFT, "surrogate": Exponential(), **arguments})  # type: ignore[arg-type]
    assert says in str(error.value)
    assert "\n" not in str(error.value)
