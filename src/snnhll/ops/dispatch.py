"""The one place that chooses between the reference and a fast path."""

from __future__ import annotations

import functools
import importlib
import warnings
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import forward_ad

from snnhll.ops import reference
from snnhll.ops.layout import is_channels_last, steps_flat
from snnhll.ops.shapes import COMPILED_SURROGATES
from snnhll.ops.signature import BatchNormalisation, LIFSettings, Pass, check_pass, check_steps
from snnhll.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class FastPath:
    """The fast path of one kind of device: what it is called, where it is, what it serves.

    as_written: whether maps may also lie in memory as they are written, not only channels_last.
    fuses: whether it has `lif_pooled` and `lif_step`, and these and `lif_sequence` take a batch normalisation.
    """

    name: str
    module: str
    dtypes: tuple[torch.dtype, ...]
    as_written: bool
    fuses: bool


FAST_PATHS = {
    "cpu": FastPath("numba", "snnhll.ops.cpu", (torch.float32, torch.bfloat16), as_written=False, fuses=True),
    "cuda": FastPath(
        "triton", "snnhll.ops.cuda", (torch.float32, torch.bfloat16, torch.float16), as_written=True, fuses=False
    ),
}
LARGEST_STEP = 2**31 - 2**16  # values in one time step: offsets in the CUDA kernels are 32-bit, to the end of a block


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
    """Everything the rate-based update of one layer needs, in one pass over its pre-activations.

    Runs T = `steps` steps of (3-1, 3-2) on the current z * scale + shift (z itself without them) and returns a `Pass`.
    No gradient flows through it.

    Args:
        z: [S, B, C, H, W] or [S, B, F]; S is T, or 1 for a current that is the same at every step.
        steps: T.
        settings: the neuron.
        surrogate: whose derivative is averaged into `slope` and `slope_input`.
        scale, shift: [C], a folded normalisation; multiplied, then added, each rounded to float32.
        gate: [B, C, H, W], multiplies what is sent at every step (a dropout mask with its 1 / (1 - p)), rounded to the
            dtype of z.
        pool: side of the max pooling of what is sent; rows and columns that do not fill a window are dropped.
        gradient: False leaves `slope`, `slope_input` and `mean_input` out.
        input_means: False leaves the last two out, which only the gradient through a normalisation of z reads.

    Raises:
        UserError: shapes, steps or pool do not fit each other.
    """
    check_pass(z, steps, scale, shift, gate, pool)
    fast = _fast_path(z, surrogate, _in_order(z))
    if fast is None:
        return reference.lif_pass(z, steps, settings, surrogate, scale, shift, gate, pool, gradient, input_means)
    return fast.lif_pass(z, steps, settings, surrogate, scale, shift, gate, pool, gradient, input_means)


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [C] and biased variance [C] of z [S, B, C, ...] over all sizes but C; float32, summed in float64.

    The same numbers from run to run, and for every number of threads. No gradient flows through it.
    """
    fast = _fast_path(z, None, _in_order(z))
    return reference.moments(z) if fast is None else fast.moments(z)


def lif_sequence(
    z: Tensor,
    steps: int,
    settings: LIFSettings,
    surrogate: Surrogate,
    through_time: bool,
    detach_reset: bool,
    norm: BatchNormalisation | None = None,
) -> Tensor:
    """Spikes [T, B, ...] of T = `steps` steps of (3-1, 3-2), in the dtype of z; differentiable.

    Args:
        z: [S, B, ...], the current; S is T, or 1 for a current that is the same at every step, whose gradient is then
            the sum over t.
        through_time: False cuts the membrane between steps: the gradient of s[t] reaches the current of step t alone.
        detach_reset: True cuts the path through the spike that resets, so that time is crossed by the decay only.
        norm: makes the current of z [S, B, C, ...]; None where z is the current.

    Raises:
        UserError: z has neither one step nor T.
    """
    check_steps(z, steps)
    how = steps, settings, surrogate, through_time, detach_reset
    if norm is None:
        fast = _fast_path(z, surrogate, steps_flat(z) is not None)
        return (reference if fast is None else fast).lif_sequence(z, *how)
    fast = _fused(z, surrogate, norm)
    if fast is None:
        return lif_sequence(norm(z), *how).to(z.dtype)
    return fast.lif_sequence(z, *how, norm)


def lif_pooled(
    z: Tensor, steps: int, settings: LIFSettings, surrogate: Surrogate, norm: BatchNormalisation, side: int
) -> tuple[Tensor, Tensor]:
    """`lif_sequence` without gradients through time, for a loss that sees maps average-pooled: the gradient of all
    spikes at once need not exist.

    Returns:
        The spikes [T, B, C, H, W] without a gradient; the same pooled over space, [T, B, C, side, side],
        differentiable. Both in the dtype of z.
    """
    check_steps(z, steps)
    fast = _fused(z, surrogate, norm)
    if fast is not None:
        return fast.lif_pooled(z, steps, settings, surrogate, norm, side)
    return reference.pooled_apart(lif_sequence(z, steps, settings, surrogate, False, True, norm), side)


def rate_gradient(
    grad: Tensor,
    slope: Tensor,
    slope_input: Tensor | None,
    mean_input: Tensor | None,
    norm: tuple[Tensor, Tensor, Tensor] | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Carry the gradient of a layer's rate back to its pre-activations (snnhll/networks/rates.py gives the equations).

    Args:
        grad: dL/dr, [B, C, H, W] or [B, F].
        slope, slope_input, mean_input: of `Pass`, same shape; the last two are read with a normalisation only.
        norm: γ, μ and 1/σ of the normalisation of z, [C] each; None without one, where a product and a sum are left,
            for which torch needs no help.
        dtype: of the gradient returned.

    Returns:
        The gradient at the mean over time of z, those of γ (None without normalisation) and of the shift, [C] each.
    """
    fast = None if norm is None else _fast_path(slope, None, _in_order(slope.unsqueeze(0)))
    if fast is None:
        return reference.rate_gradient(grad, slope, slope_input, mean_input, norm, dtype)
    return fast.rate_gradient(grad, slope, slope_input, mean_input, norm, dtype)


def lif_step(
    z: Tensor, v: Tensor | None, settings: LIFSettings, surrogate: Surrogate, norm: BatchNormalisation | None = None
) -> tuple[Tensor, Tensor]:
    """One step of (3-1, 3-2), with the gradient of this step alone.

    Args:
        z: [B, ...], the current; with a normalisation, what it makes one of.
        v: [B, ...], the membrane that the step before left, as it was returned; None at the first step.

    Returns:
        The spikes [B, ...] in the dtype of z, differentiable, and the membrane after the reset, without a gradient.
    """
    forward_mode = forward_ad.unpack_dual(z).tangent is not None  # which the compiled kernels do not know
    fast = None if forward_mode else _fused(z.unsqueeze(0), surrogate, norm)
    if fast is not None:
        return fast.lif_step(z, v, settings, surrogate, norm)
    if norm is None:
        return reference.lif_step(z, v, settings, surrogate)
    spikes, rest = lif_step(norm(z.unsqueeze(0))[0], v, settings, surrogate)
    return spikes.to(z.dtype), rest


def _fused(z: Tensor, surrogate: Surrogate, norm: BatchNormalisation | None) -> ModuleType | None:
    """Return the module that computes normalisation, neurons and the gradient of both of z as one; None without."""
    path = FAST_PATHS.get(z.device.type)
    if path is None or not path.fuses:
        return None
    if norm is not None and (not norm.of_batch or z.numel() == z.shape[2]):
        return None  # of one value a channel the norm itself says that it needs more
    return _fast_path(z, surrogate, _in_order(z))


def which(z: Tensor, surrogate: Surrogate | None = None) -> str:
    """Path that `lif_pass` and `moments` take for z: "numba", "triton", or "reference: " and the reason."""
    reason = _uncovered(z) or _obstacle(z, surrogate, _in_order(z))
    return f"reference: {reason}" if reason else FAST_PATHS[z.device.type].name


def _fast_path(z: Tensor, surrogate: Surrogate | None, in_order: bool) -> ModuleType | None:
    """Return the module that serves these arguments, or None for the reference, with a notice if that can be mended."""
    if _uncovered(z):
        return None
    reason = _obstacle(z, surrogate, in_order)
    if reason:
        _notice(reason)
        return None
    return importlib.import_module(FAST_PATHS[z.device.type].module)


def _in_order(z: Tensor) -> bool:
    """Whether z [S, B, C, ...] lies in memory as the fast path of its device walks it."""
    path = FAST_PATHS.get(z.device.type)
    return is_channels_last(z) or (path is not None and path.as_written and z.is_contiguous())


def _uncovered(z: Tensor) -> str | None:
    """Why no fast path is meant for z at all: the reference is then what the user asked for."""
    path = FAST_PATHS.get(z.device.type)
    if path is None:
        return f"no fast path on {z.device.type}"
    if z.dtype not in path.dtypes:
        return f"no fast path for {z.dtype}"
    return None


def _obstacle(z: Tensor, surrogate: Surrogate | None, in_order: bool) -> str | None:
    """Why the fast path meant for these arguments cannot take them."""
    path = FAST_PATHS[z.device.type]
    if not in_order:
        return "the input is not contiguous (maps: channels_last) in memory"
    if surrogate is not None and type(surrogate) not in COMPILED_SURROGATES:
        return f"surrogate {type(surrogate).__name__} has no compiled form"
    if z.device.type == "cuda" and z[0].numel() > LARGEST_STEP:
        return f"{z[0].numel()} values in one time step, the kernels count to {LARGEST_STEP}"
    return _import_error(path)


@functools.cache
def _import_error(path: FastPath) -> str | None:
    try:
        importlib.import_module(path.module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: Numba finds no directory it may cache in
        return f"{path.name} does not import ({error})"
    return None


@functools.cache
def _notice(reason: str) -> None:
    """Warn once a process for each reason."""
    warnings.warn(f"the slow reference kernels run: {reason}", RuntimeWarning, stacklevel=4)
