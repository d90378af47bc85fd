"""Batch normalisation through time (Kim & Panda 2021): statistics and gains of every time step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        z = z.to(self.gamma.dtype)
        over = [d for d in range(z.dim()) if d not in (0, 2)]
        each = (len(self.gamma), 1, -1, *(1,) * (z.dim() - 3))  # a value for every step and channel
        if self.training:
            var, mean = torch.var_mean(z, over, correction=0, keepdim=True)
            count = z.shape[1] * z[0, 0, 0].numel()
            self.follow(mean, var * count / max(count - 1, 1))
        else:
            mean, var = self.running_mean.view(each), self.running_var.view(each)
        return (z - mean) * (var + self.eps).rsqrt() * self.gamma.view(each)

    @torch.no_grad()
    def follow(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards those of a batch, [S, 1, C, ...]."""
        self.running_mean.lerp_(mean.flatten(1).expand_as(self.running_mean), self.momentum)
        self.running_var.lerp_(var.flatten(1).expand_as(self.running_var), self.momentum)
