"""Batch normalisation of the input current, with statistics over the batch, all time steps and all positions."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.ops import moments


class Across(Protocol):
    """The processes that have shares of one batch. weight: this one's part of it."""

    weight: float

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the whole batch of what x is the mean of over this share; differentiable."""


class BatchNorm(nn.Module):
    """y = γ (z - μ)/σ + β per channel of z [S, B, C, ...]; running statistics replace μ and σ in evaluation.

    across: the processes over which μ and σ are taken, where several share a batch.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.across: Across | None = None
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @property
    def of_batch(self) -> bool:
        """Whether μ and σ are those of what is normalised alone: in training, where no other process has a share."""
        return self.training and self.across is None

    def forward(self, z: Tensor) -> Tensor:
        """Normalise z [S, B, C, ...] in float32; differentiable through the batch statistics."""
        flat = z.flatten(0, 1).to(self.gamma.dtype)
        if self.training and self.across is not None:
            return self._over(self.across, flat).unflatten(0, z.shape[:2])
        y = F.batch_norm(
            flat, self.running_mean, self.running_var, self.gamma, self.beta, self.training, self.momentum, self.eps
        )
        return y.unflatten(0, z.shape[:2])

    def _over(self, across: Across, flat: Tensor) -> Tensor:
        """Normalise `flat` [N, C, ...] by the statistics of all processes' values."""
        others = [d for d in range(flat.dim()) if d != 1]
        per_channel = (-1, *(1,) * (flat.dim() - 2))
        mean = across.mean(flat.mean(others))
        centred = flat - mean.view(per_channel)
        var = across.mean(centred.square().mean(others))
        self._follow(mean.detach(), var.detach(), flat.numel() / flat.shape[1] / across.weight)
        scale = (var + self.eps).rsqrt() * self.gamma
        return centred * scale.view(per_channel) + self.beta.view(per_channel)

    def _follow(self, mean: Tensor, var: Tensor, count: float) -> None:
        """Move the running statistics towards those of a batch with `count` values a channel."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((var * (count / max(count - 1, 1))).to(self.running_var.dtype), self.momentum)

    @torch.no_grad()
    def affine(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return scale and shift with y = z scale + shift, and the mean and 1/σ they come from, all [C].

        In training the statistics are those of z [S, B, C, ...], and the running ones move towards them.
        """
        if self.training:
            mean, var = moments(z)
            count = z.numel() / z.shape[2]
            if self.across is not None:
                own, mean = mean, self.across.mean(mean)
                var = self.across.mean(var + (own - mean).square())
                count /= self.across.weight
            self._follow(mean, var, count)
        else:
            mean, var = self.running_mean, self.running_var
        inverse = (var + self.eps).rsqrt()
        scale = self.gamma * inverse
        return scale, self.beta - mean * scale, mean, inverse
