"""How tensors lie in memory, which is the order the compiled kernels walk."""

from __future__ import annotations

from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Whether maps [..., C, H, W] lie in memory as [..., H, W, C], or linear layers [S, B, F] as they are written."""
    return (x.movedim(-3, -1) if x.dim() > 3 else x).is_contiguous()


def steps_flat(x: Tensor) -> Tensor | None:
    """View of [S, B, ...] as [S, N] for a contiguous or channels_last sequence, else None."""
    if x.is_contiguous():
        return x.flatten(1)
    last = x.movedim(2, -1)
    return last.flatten(1) if last.is_contiguous() else None


def like_steps(current: Tensor, steps: int) -> Tensor:
    """Return an empty [steps, B, ...] in the memory order of `current` [S, B, ...]."""
    if current.is_contiguous():
        return current.new_empty((steps, *current.shape[1:]))
    last = current.movedim(2, -1)
    return last.new_empty((steps, *last.shape[1:])).movedim(-1, 2)
