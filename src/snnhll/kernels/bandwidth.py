"""How wide a kernel is, in units of the features it looks at (method.md, section 5, point 17)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Unit = Literal["fixed", "dimension", "median"]


def widths(unit: Unit, sigma: float, distances: Tensor, length: float) -> Tensor:
    """Width σ of every batch, [..., 1, 1], without gradient.

    distances: [..., B, B] of the batch, in the norm of the kernel. length: the norm of a vector whose D entries are 1.
    fixed: σ = sigma, as printed. dimension: σ = sigma · length, so that σ does not have to grow with D.
    median: σ = sigma · the (lower) median distance between two different samples of the batch.
    """
    d = distances.detach()
    if unit == "median":
        return sigma * _typical(d)
    return d.new_full((*d.shape[:-2], 1, 1), sigma * length if unit == "dimension" else sigma)


def _typical(distances: Tensor) -> Tensor:
    """Median over i < j; the mean where more than half of the pairs are duplicates; 1 where all are, or none exists."""
    row, column = torch.triu_indices(distances.shape[-2], distances.shape[-1], 1, device=distances.device)
    if row.numel() == 0:
        return torch.ones_like(distances)
    pairs = distances[..., row, column]
    median, mean = pairs.median(-1).values, pairs.mean(-1)
    typical = torch.where(median > 0, median, mean)
    return torch.where(typical > 0, typical, 1)[..., None, None]
