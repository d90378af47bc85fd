"""Recognises kernel matrices that say nothing about their batch, so that a run can warn about them by name."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Degenerate = Literal["identity", "constant"]


def degenerate(K: Tensor, tolerance: float = 1e-6) -> Degenerate | None:
    """What is wrong with the kernel matrix K [B, B], if anything; None for a batch of one.

    constant: all entries agree within tolerance · the largest, as when σ is far too wide or a layer is silent.
    identity: every entry off the diagonal is below tolerance · the largest, as when σ is so small that k underflows.
    """
    size = K.shape[-1]
    if size < 2:
        return None
    K = K.detach()
    bound = tolerance * K.abs().max()
    if bool(K.max() - K.min() <= bound):
        return "constant"
    off_diagonal = K - K.diagonal().diag()
    return "identity" if bool(off_diagonal.abs().max() <= bound) else None
