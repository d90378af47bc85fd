"""Distances between all pairs of a batch. No tensor here is larger than the features or the matrix of pairs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["l1", "l2"]


def squared_distances(x: Tensor) -> Tensor:
    """||x_i - x_j||² of x [..., B, D] as [..., B, B], by one matrix product; the diagonal is exactly zero."""
    centred = x - x.detach().mean(-2, keepdim=True)  # distances do not see a shift, rounding errors do
    gram = centred @ centred.mT
    squares = gram.diagonal(dim1=-2, dim2=-1)
    return (squares.unsqueeze(-1) + squares.unsqueeze(-2) - 2 * gram).clamp(min=0)


def distances(x: Tensor, norm: Norm = "l2") -> Tensor:
    """||x_i - x_j|| of x [..., B, D] as [..., B, B]. Between duplicates the distance and its gradient are zero."""
    if norm == "l1":
        return torch.cdist(x, x, p=1)
    squared = squared_distances(x)
    apart = squared > _rounding(x)
    return torch.where(apart, squared, 1).sqrt() * apart  # the 1 keeps the infinite slope of sqrt at 0 out of backward


def _rounding(x: Tensor) -> Tensor:
    """Squared distance below which two samples of a batch cannot be told from duplicates, [..., 1, 1]."""
    spread = (x - x.mean(-2, keepdim=True)).detach().square().sum(-1).amax(-1)
    return (16 * torch.finfo(x.dtype).eps * spread)[..., None, None]
