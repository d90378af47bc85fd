"""Every CUDA kernel against the reference, in every setting it claims to serve.

Truth is the reference on the CPU, in float32: what decides the next layer's input (spikes and rates) has to be equal
to the bit, gradients and moments to rounding. Sizes are odd and small, so that windows, rows and blocks are cut; a
few are larger than one program. The same cases run on a GPU (bench/gpu/run) and, interpreted, in the tests.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from snnhll.ops import LIFSettings, reference
from snnhll.surrogates.arctangent import Arctangent
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential
from snnhll.surrogates.sigmoid import Sigmoid
from snnhll.surrogates.surrogate import Surrogate
from snnhll.surrogates.triangle import Triangle

T = 4
NEURONS = {
    "soft reset": LIFSettings(decay=math.exp(-1), v_th=1.0, reset="soft"),
    "hard reset": LIFSettings(decay=0.8, v_th=0.45, reset="hard", v_reset=-0.3),
}
SURROGATES: tuple[Surrogate, ...] = (Exponential(1.5), Sigmoid(4.0), Boxcar(0.3), Triangle(0.7), Arctangent(2.0))
DTYPES = (torch.bfloat16, torch.float32, torch.float16)  # all settings in the first, each setting once in the others
MAP, LARGE, LINEAR = (2, 5, 5, 7), (3, 37, 9, 10), (3, 1100)
WAYS = {"cut": (False, False), "through time": (True, False), "reset detached": (True, True)}
GATES = ((False, 1), (False, T), (True, T))  # whether there is a dropout mask, and S
ORDERS = {"channels_last": True, "as written": False}
STEP = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}  # one step of the stored precision


@dataclass(frozen=True)
class Finding:
    """What one case found. different: forward values that are not equal; worst: largest error as a share of what
    rounding allows; fired: mean rate, None where nothing fires."""

    kernel: str
    setting: str
    different: int
    worst: float
    fired: float | None = None

    @property
    def passed(self) -> bool:
        """Whether forward is exact, gradients within rounding, and the neurons neither silent nor saturated."""
        return self.different == 0 and self.worst <= 1 and (self.fired is None or 0.03 < self.fired < 0.97)


def findings(path: ModuleType, device: torch.device) -> Iterator[Finding]:
    """Yield what each case finds of the kernels in `path` (`snnhll.ops.cuda`) on `device`."""
    yield from _passes(path, device)
    yield from _sequences(path, device)
    yield from _sums(path, device)


def _passes(path: ModuleType, device: torch.device) -> Iterator[Finding]:
    every = itertools.product(DTYPES[:1], NEURONS.items(), (1, 2, 3), GATES, ORDERS.items())
    stored = itertools.product(DTYPES[1:], NEURONS.items(), (1, 2, 3), GATES[-1:], [("channels_last", True)])
    for dtype, (name, neuron), pool, (gated, steps), (order, last) in (*every, *stored):
        setting = f"{_short(dtype)}, {name}, pool {pool}, {'gate, ' if gated else ''}S {steps}, {order}"
        yield _pass(path, device, setting, (steps, *MAP), dtype, neuron, pool=pool, gated=gated, last=last)
    soft, hard = NEURONS.values()
    for surrogate in SURROGATES:
        yield _pass(path, device, surrogate.name, (T, *LARGE), torch.float32, soft, surrogate, pool=2)
    for dtype in DTYPES:
        yield _pass(path, device, f"{_short(dtype)}, linear", (T, *LINEAR), dtype, hard, gated=True)
    yield _pass(path, device, "unscaled", (T, *LARGE), torch.bfloat16, soft, scaled=False)
    yield _pass(path, device, "no input means", (T, *LARGE), torch.float32, soft, pool=2, input_means=False)
    yield _pass(path, device, "inference", (T, *LARGE), torch.bfloat16, hard, pool=2, gradient=False)


def _pass(
    path: ModuleType,
    device: torch.device,
    setting: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    neuron: LIFSettings,
    surrogate: Surrogate = SURROGATES[0],
    pool: int = 1,
    gated: bool = False,
    scaled: bool = True,
    last: bool = True,
    gradient: bool = True,
    input_means: bool = True,
) -> Finding:
    z = _normal(shape, 0, last).to(dtype)
    channels = shape[2]
    scale, shift = (torch.linspace(0.7, 1.6, channels), torch.linspace(-0.2, 0.9, channels)) if scaled else (None, None)
    gate = (_normal(shape[1:], 1, False) > -1).float() / 0.84 if gated else None
    tensors = (scale, shift, gate)
    truth = reference.lif_pass(z, T, neuron, surrogate, *tensors, pool, gradient, input_means)
    moved = (None if x is None else x.to(device) for x in tensors)
    found = path.lif_pass(z.to(device), T, neuron, surrogate, *moved, pool, gradient, input_means)
    return Finding(
        "lif_pass",
        setting,
        sum(_different(a, b) for a, b in zip(found[:3], truth[:3], strict=True)),
        max(_error(a, b, 1e-5) for a, b in zip(found[3:], truth[3:], strict=True)),
        float(truth.rate.mean()),
    )


def _sequences(path: ModuleType, device: torch.device) -> Iterator[Finding]:
    every = itertools.product(DTYPES[:1], NEURONS.items(), WAYS.items(), (1, T), ORDERS.items())
    stored = itertools.product(DTYPES[1:], NEURONS.items(), WAYS.items(), (T,), [("channels_last", True)])
    for dtype, (name, neuron), (way, cuts), steps, (order, last) in (*every, *stored):
        setting = f"{_short(dtype)}, {name}, {way}, S {steps}, {order}"
        yield _sequence(path, device, setting, (steps, *MAP), dtype, neuron, SURROGATES[0], cuts, last)
    for surrogate in SURROGATES:
        hard = NEURONS["hard reset"]
        yield _sequence(path, device, surrogate.name, (T, *LARGE), torch.float32, hard, surrogate, (True, False), True)


def _sequence(
    path: ModuleType,
    device: torch.device,
    setting: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    neuron: LIFSettings,
    surrogate: Surrogate,
    cuts: tuple[bool, bool],
    last: bool,
) -> Finding:
    current, weights = _normal(shape, 2, last).to(dtype), _normal((T, *shape[1:]), 3, last).to(dtype)

    def gradient(run: Callable[..., Tensor], place: torch.device) -> tuple[Tensor, Tensor]:
        leaf = current.to(place).requires_grad_()
        spikes = run(leaf, T, neuron, surrogate, *cuts)
        return spikes.detach(), torch.autograd.grad(spikes, leaf, weights.to(place))[0]

    truth, found = gradient(reference.lif_sequence, torch.device("cpu")), gradient(path.lif_sequence, device)
    wrong, error = _different(found[0], truth[0]), _error(found[1], truth[1], STEP[dtype])
    return Finding("lif_sequence", setting, wrong, error, float(truth[0].float().mean()))


def _sums(path: ModuleType, device: torch.device) -> Iterator[Finding]:
    """Moments, and the gradient that a rate brings to the pre-activations; truth is computed in float64."""
    for dtype, shape, (order, last) in itertools.product(DTYPES, ((T, *LARGE), (T, *LINEAR)), ORDERS.items()):
        z = (3 * _normal(shape, 4, last) + 30).to(dtype)
        pairs = zip(path.moments(z.to(device)), reference.moments(z.double()), strict=True)
        setting = f"{_short(dtype)}, {'linear' if len(shape) == 3 else 'maps'}, {order}"
        yield Finding("moments", setting, 0, max(_error(a, b, 1e-5) for a, b in pairs))
    for dtype, normed, (order, last) in itertools.product(DTYPES, (True, False), ORDERS.items()):
        maps = [_normal((1, *LARGE), seed, last)[0] for seed in range(5, 9)]
        norm = tuple(_normal((3, 1, LARGE[1]), 9, False)[:, 0].abs() + 0.1) if normed else None
        wide = None if norm is None else tuple(x.double() for x in norm)
        moved = None if norm is None else tuple(x.to(device) for x in norm)
        truth = reference.rate_gradient(*(x.double() for x in maps), wide, torch.float64)  # type: ignore[arg-type, call-arg]
        found = path.rate_gradient(*(x.to(device) for x in maps), moved, dtype)
        errors = [_error(found[0], truth[0], STEP[dtype])]
        errors += [_error(a, b, 1e-4) for a, b in zip(found[1:], truth[1:], strict=True)]
        setting = f"{_short(dtype)}, {'normalised' if normed else 'plain'}, {order}"
        yield Finding("rate_gradient", setting, 0, max(errors))


def _normal(shape: tuple[int, ...], seed: int, last: bool) -> Tensor:
    """Return normal values [S, B, C, ...], in memory channels_last or as written."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if last and x.dim() > 3 else x


def _different(found: Tensor, truth: Tensor) -> int:
    assert found.dtype == truth.dtype
    return int((found.cpu() != truth).sum())


def _error(found: Tensor | None, truth: Tensor | None, rounding: float) -> float:
    """Return the largest error over what is allowed of it: `rounding` of the true value, or of 1 where that is less."""
    if found is None or truth is None:
        return 0.0 if found is truth else math.inf
    allowed = rounding * truth.double().abs().clamp(min=1)
    share = ((found.cpu().double() - truth.double()).abs() / allowed).max()
    return math.inf if share.isnan() else float(share)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
