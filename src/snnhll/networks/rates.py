"""A layer whose gradient uses rates: one weight-gradient product instead of one a time step.

The forward pass is exact. In the gradient, the presynaptic spikes s[t] of every step are replaced by their rate, as
in the three-factor rule (4-36); the surrogate derivatives and the normalisation keep their value at every step, and
gradients do not flow through time. With D = dL/dr, x̂ the normalised current and bars for means over time,

    dL/dβ = Σ D σ̄',   dL/dγ = Σ D mean_t(σ'_t x̂_t),
    dL/dz̄ = γ/σ [D σ̄' - (dL/dβ + x̄̂ dL/dγ) / M],   dL/dW = dL/dz̄ ⊗ r_in,     M = batch times positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from snnhll.networks.block import Block
from snnhll.networks.norm import Across
from snnhll.ops import lif_pass, rate_gradient
from snnhll.ops.reference import compute_dtype


@dataclass(frozen=True)
class Signal:
    """What travels between layers: spikes [S, B, ...] (S = 1: constant over time). counted: their rate [B, ...], where
    it is known already."""

    spikes: Tensor
    counted: Tensor | None = None

    @cached_property
    def rate(self) -> Tensor:
        """The mean of the spikes over time, [B, ...]; computed for those who look at it."""
        if self.counted is not None:
            return self.counted
        return self.spikes[0] if len(self.spikes) == 1 else rate_of(self.spikes)


def rate_of(spikes: Tensor) -> Tensor:
    """Return the mean over time [B, ...] of spikes [T, B, ...], differentiable; float32, or float64 as the spikes."""
    return cast(Tensor, _Rate.apply(spikes))


class _Rate(torch.autograd.Function):
    """A mean of which no wider copy is made, and whose gradient, the same at every step, is not written out."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        ctx.steps, ctx.dtype = len(spikes), spikes.dtype
        total = spikes[0].to(compute_dtype(spikes), copy=True)
        for step in spikes[1:]:
            total += step
        return total.div_(len(spikes))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return (grads[0] / ctx.steps).to(ctx.dtype).expand(ctx.steps, *grads[0].shape)


def rate_forward(block: Block, signal: Signal, steps: int) -> tuple[Tensor, Signal]:
    """Return the rate [B, ...] of a block in training, with the gradient above, and its detached signal to the next."""
    if block.compiled is None:
        return _by_autograd(block, signal, steps)
    return _compiled(block, signal, steps)


@torch.no_grad()
def rate_inference(block: Block, signal: Signal, steps: int) -> tuple[Tensor, Signal]:
    """Return rate and outgoing signal without anything kept for a gradient."""
    if block.compiled is None:
        spikes = block(signal.spikes, steps)
        return rate_of(spikes), Signal(block.transmit(spikes, None))
    z = block.synapse(signal.spikes)
    scale, shift = (None, None) if block.norm is None else block.norm.affine(z)[:2]
    out = lif_pass(
        z, steps, block.compiled, block.neuron.surrogate, scale, shift, None, block.layer.pool, gradient=False
    )
    return out.rate, Signal(out.spikes, out.output_rate)


def _compiled(block: Block, signal: Signal, steps: int) -> tuple[Tensor, Signal]:
    assert block.compiled is not None
    weight = block.synapse.effective_weight()
    with torch.no_grad():
        z = block.synapse(signal.spikes, weight)
        scale = shift = mean = inverse = None
        if block.norm is not None:
            scale, shift, mean, inverse = block.norm.affine(z)
        gate = block.gate(z[0])
        out = lif_pass(
            z,
            steps,
            block.compiled,
            block.neuron.surrogate,
            scale,
            shift,
            gate,
            block.layer.pool,
            input_means=block.norm is not None,
        )
    gamma, beta = (None, block.synapse.bias) if block.norm is None else (block.norm.gamma, block.norm.beta)
    source = signal.rate.to(signal.spikes.dtype)
    maps = (out.rate, out.slope, out.slope_input, out.mean_input)
    rate = _RateGradient.apply(weight, gamma, beta, block, source, (mean, inverse), maps)
    return rate, Signal(out.spikes, out.output_rate)


def _by_autograd(block: Block, signal: Signal, steps: int) -> tuple[Tensor, Signal]:
    """The same gradient written as a graph: the value of z[t] is exact, its gradient that of W applied to the rate."""
    weight = block.synapse.effective_weight()
    mean = block.synapse(signal.rate.unsqueeze(0), weight).to(weight.dtype)
    with torch.no_grad():
        z = block.synapse(signal.spikes, weight).to(weight.dtype)
    z = z + (mean - mean.detach())
    spikes = block.fire(z, steps).to(signal.spikes.dtype)
    sent = block.transmit(spikes.detach(), block.gate(spikes[0].detach()))
    return rate_of(spikes), Signal(sent)


class _RateGradient(torch.autograd.Function):
    """Identity on the rate, with the gradient of the module docstring."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        block: Block,
        source_rate: Tensor,
        statistics: tuple[Tensor | None, Tensor | None],
        maps: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    ) -> Tensor:
        rate, slope, slope_input, mean_input = maps
        ctx.block, ctx.statistics = block, statistics
        ctx.save_for_backward(gamma, source_rate, slope, slope_input, mean_input)
        return rate.view_as(rate)  # a tensor of its own: the one passed in also travels to the next layer

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gamma, source, slope, slope_input, mean_input = ctx.saved_tensors
        norm = None if gamma is None else (gamma, *ctx.statistics)
        grad_z, grad_gamma, grad_beta = rate_gradient(grads[0], slope, slope_input, mean_input, norm, source.dtype)
        if norm is not None and grad_gamma is not None and (across := ctx.block.norm.across) is not None:
            grad_z = _of_all(across, grad_z, (grad_beta, grad_gamma), norm, mean_input)
        grad_weight = ctx.block.synapse.weight_gradient(source, grad_z).to(slope.dtype)
        return grad_weight, grad_gamma, grad_beta, None, None, None, None


def _of_all(
    across: Across, grad_z: Tensor, sums: tuple[Tensor, Tensor], norm: tuple[Tensor, Tensor, Tensor], mean_input: Tensor
) -> Tensor:
    """dL/dz̄ of a share of a batch, with dL/dβ and dL/dγ of the whole batch in the place of the share's own `sums`.

    M stays the share's: the whole batch has M/w_r values, and w_r comes with the averaging of gradients.
    """
    gamma, mean, inverse = (x.view(-1, *(1,) * (grad_z.dim() - 2)) for x in norm)
    beta_excess, gamma_excess = ((own - across.mean(own)).view_as(mean) for own in sums)
    excess = beta_excess + (mean_input - mean) * inverse * gamma_excess
    return (grad_z + gamma * inverse * excess * (grad_z.shape[1] / grad_z.numel())).to(grad_z.dtype)
