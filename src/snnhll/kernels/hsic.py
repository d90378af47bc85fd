"""Estimators of the Hilbert-Schmidt independence criterion from two kernel matrices of one batch of m samples.

Every estimator is bilinear: HSIC(K, L) = Σ_ij k̃_ij l_ij, where k̃ is K centred in the estimator's own way. So k̃ is
also the derivative of HSIC with respect to L, which turns HSIC into a local learning rule (4-33). All cost O(m²).

    approximate (4-23):              k̃ = (K - mean K) / m²
    biased (4-21), tr(KHLH) / m²:    k̃ = HKH / m²,  H = I - 11ᵀ/m
    unbiased (Song et al. 2012):     k̃ = K without diagonal, centred so that independence gives 0 in the mean

approximate - biased = 2 cov(row means of K, row means of L): equal where either matrix has constant row means.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Estimator = Literal["approximate", "biased", "unbiased"]


def hsic(K: Tensor, L: Tensor, estimator: Estimator = "approximate") -> Tensor:
    """HSIC of the symmetric kernel matrices K and L [..., m, m], as [...].

    Zero when K or L is constant, so for a batch of one class or of one sample; unbiased is zero for m < 4 as well,
    where it is not defined.
    """
    return (centre(K, estimator) * L).sum((-2, -1))


def centre(K: Tensor, estimator: Estimator = "approximate") -> Tensor:
    """The k̃ [..., m, m] of HSIC(K, L) = Σ_ij k̃_ij l_ij, for symmetric K."""
    match estimator:
        case "approximate":
            return (K - K.mean((-2, -1), keepdim=True)) / K.shape[-1] ** 2
        case "biased":
            rows, columns = K.mean(-1, keepdim=True), K.mean(-2, keepdim=True)
            return (K - rows - columns + rows.mean(-2, keepdim=True)) / K.shape[-1] ** 2
        case "unbiased":
            return _centre_unbiased(K)


def _centre_unbiased(K: Tensor) -> Tensor:
    m = K.shape[-1]
    if m < 4:
        return torch.zeros_like(K)
    others = 1 - torch.eye(m, dtype=K.dtype, device=K.device)
    K = K * others
    rows, columns = K.sum(-1, keepdim=True), K.sum(-2, keepdim=True)
    total = rows.sum(-2, keepdim=True)
    return others * (K - (rows + columns) / (m - 2) + total / ((m - 1) * (m - 2))) / (m * (m - 3))
