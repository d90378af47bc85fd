"""Batch normalisation of the input current, with statistics over the batch, all time steps and all positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.ops import moments


class BatchNorm(nn.Module):
    """y = γ (z - μ)/σ + β per channel of z [S, B, C, ...]; running statistics replace μ and σ in evaluation."""

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, z: Tensor) -> Tensor:
        """Normalise z [S, B, C, ...] in float32; differentiable through the batch statistics."""
        flat = z.flatten(0, 1).to(self.gamma.dtype)
        y = F.batch_norm(
            flat, self.running_mean, self.running_var, self.gamma, self.beta, self.training, self.momentum, self.eps
        )
        return y.unflatten(0, z.shape[:2])

    @torch.no_grad()
    def affine(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return scale and shift with y = z scale + shift, and the mean and 1/σ they come from, all [C].

        In training the statistics are those of z [S, B, C, ...], and the running ones move towards them.
        """
        if self.training:
            mean, var = moments(z)
            count = z.numel() // z.shape[2]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / max(count - 1, 1)), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        inverse = (var + self.eps).rsqrt()
        scale = self.gamma * inverse
        return scale, self.beta - mean * scale, mean, inverse
