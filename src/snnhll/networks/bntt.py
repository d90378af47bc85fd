"""Batch normalisation through time (Kim & Panda 2021): statistics and gains of every time step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BNTT(nn.Module):
    """y[t] = γ[t] (z[t] - μ[t])/σ[t] per channel of z [S, B, C, ...], without a shift, as in the paper.

    μ and σ are those of the batch at step t; running ones of that step replace them in evaluation.
    """

    def __init__(self, channels: int, steps: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.gamma = nn.Parameter(torch.ones(steps, channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(steps, channels))
        self.register_buffer("running_var", torch.ones(steps, channels))

    def forward(self, z: Tensor) -> Tensor:
        """Normalise z [S, B, C, ...], S = T or 1 (constant over time), in float32; returns [T, B, C, ...]."""
        steps, channels = self.gamma.shape
        z = z.to(self.gamma.dtype).expand(steps, *z.shape[1:])
        together = z.transpose(0, 1).flatten(1, 2)  # [B, T C, ...]: a channel of a step is a channel of its own
        mean, var = self.running_mean.view(-1), self.running_var.view(-1)
        y = F.batch_norm(together, mean, var, self.gamma.view(-1), None, self.training, self.momentum, self.eps)
        return y.unflatten(1, (steps, channels)).transpose(0, 1)
