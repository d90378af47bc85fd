"""Bounds on the information that a layer's noisy rates z = r + σ ε, ε ~ N(0, 1), keep of the input: I(X; Z), in nats.

    variational (Alemi et al. 2017)     I(X;Z) <= mean over samples of KL(N(r, σ²) || N(m, s²)),
                                        KL = Σ over neurons of ln(s/σ) + (σ² + (r - m)²) / (2 s²) - 1/2
    pairwise (Kolchinsky & Tracey 2017) I(X;Z) <= -1/B Σ_i ln 1/B Σ_j exp(-||r_i - r_j||² / (2 σ²))

The first holds for every m and s, and is tightest where they are mean and deviation of z over the data; it needs one
sample at a time. The second compares the samples of a batch, needs nothing learned and never exceeds ln B.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snnhll.kernels.distances import squared_distances


class Prior(nn.Module):
    """N(m, s²) over the rates of n neurons, learned: what the rates look like when nothing is known of the input."""

    def __init__(self, n: int, deviation: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(n))
        self.log_deviation = nn.Parameter(torch.full((n,), math.log(deviation)))

    def information(self, rate: Tensor, sigma: float) -> Tensor:
        """Return KL(N(rate, sigma²) || N(m, s²)), summed over neurons, mean over the samples of rate [B, n]."""
        variance = (2 * self.log_deviation).exp()
        missed = (sigma**2 + (rate - self.mean).square()) / variance
        return (self.log_deviation - math.log(sigma) + (missed - 1) / 2).sum(1).mean()


def pairwise_information(rate: Tensor, sigma: float) -> Tensor:
    """Return the pairwise bound for rates [B, n], a scalar in [0, ln B]."""
    return math.log(len(rate)) - torch.logsumexp(-squared_distances(rate) / (2 * sigma**2), 1).mean()


def noisy(rate: Tensor, sigma: float) -> Tensor:
    """Return z: rates with Gaussian noise of standard deviation sigma, differentiable in the rates."""
    return rate + sigma * torch.randn_like(rate)
