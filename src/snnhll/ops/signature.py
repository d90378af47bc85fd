"""What goes into the kernels and what comes out: shared by the reference and every fast path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from snnhll.errors import UserError


@dataclass(frozen=True)
class LIFSettings:
    """Constants of the LIF neuron (3-1, 3-2).

    `decay` is λ per step, `v_th` the threshold. After a spike the membrane is lowered by `v_th` (soft) or set to
    `v_reset` (hard); the decay of the next step acts on the membrane after the reset.
    """

    decay: float
    v_th: float
    reset: Literal["soft", "hard"]
    v_reset: float = 0.0


class Pass(NamedTuple):
    """One layer's T steps: the spikes to send on, and the means over time a rate-based update needs.

    Maps are [B, C, H, W], sent on as [T, B, C, H // pool, W // pool]; for linear layers read F for C, H, W. Means are
    float32 (float64 for a float64 input).
    """

    spikes: Tensor
    """What the next layer receives, in the dtype of z: gated, then max-pooled. [T, B, C, H', W']"""
    output_rate: Tensor
    """Mean over T of `spikes`. [B, C, H', W']"""
    rate: Tensor
    """Mean over T of the spikes themselves, before gate and pool. [B, C, H, W]"""
    slope: Tensor | None
    """Mean over T of the surrogate derivative at u[t] - v_th. [B, C, H, W]; None without gradient, as the next two."""
    slope_input: Tensor | None
    """Mean over T of derivative times z[t]. [B, C, H, W]; None without input_means, as the next one."""
    mean_input: Tensor | None
    """Mean over T of z[t]. [B, C, H, W]"""


class BatchNormalisation(Protocol):
    """What makes a current y = γ (z - μ)/σ + β of weighted sums z [S, B, C, ...]."""

    @property
    def gamma(self) -> Tensor:
        """γ, [C]."""

    @property
    def beta(self) -> Tensor:
        """β, [C]."""

    def __call__(self, z: Tensor) -> Tensor:
        """Return y in float32, differentiable."""

    def affine(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return scale and shift with y = z scale + shift, and the μ and 1/σ they come from, all [C].

        In training the running statistics follow those of z, as in a call.
        """

    @property
    def of_batch(self) -> bool:
        """Whether μ and σ are those of z itself, so that all of the gradient goes through them."""


class Normalisation(NamedTuple):
    """What batch normalisation adds to the gradient of z: (grad_y - constant - z_mean * linear) * factor; all [C]."""

    factor: Tensor
    constant: Tensor
    linear: Tensor
    grad_gamma: Tensor


def normalisation_terms(
    norm: tuple[Tensor, Tensor, Tensor], grad_beta: Tensor, grad_input: Tensor, count: int
) -> Normalisation:
    """Return the terms of one normalisation (γ, μ, 1/σ) over `count` values a channel.

    grad_beta, grad_input: sums over them of the gradient at y, and of that gradient times z.
    """
    gamma, mean, inverse = norm
    grad_gamma = (grad_input - mean * grad_beta) * inverse
    linear = grad_gamma / count * inverse
    return Normalisation(gamma.detach() * inverse, grad_beta / count - mean * linear, linear, grad_gamma)


def check_pass(
    z: Tensor, steps: int, scale: Tensor | None, shift: Tensor | None, gate: Tensor | None, pool: int
) -> None:
    """Raise UserError when the arguments of `lif_pass` do not fit each other."""
    if z.dim() not in (3, 5):
        raise UserError(f"z has shape {list(z.shape)}: expected [S, B, F] or [S, B, C, H, W]")
    check_steps(z, steps)
    largest = 1 if z.dim() == 3 else min(z.shape[3:])
    if not 1 <= pool <= largest:
        raise UserError(f"pool = {pool} for z of shape {list(z.shape)}: expected 1 to {largest}")
    if (scale is None) != (shift is None):
        raise UserError("scale and shift come together: give both or neither")
    for name, vector in (("scale", scale), ("shift", shift)):
        if vector is not None and vector.shape != z.shape[2:3]:
            raise UserError(f"{name} has shape {list(vector.shape)}: expected one value a channel, [{z.shape[2]}]")
    if gate is not None and gate.shape != z.shape[1:]:
        raise UserError(f"gate has shape {list(gate.shape)}: expected that of one step of z, {list(z.shape[1:])}")


def check_steps(z: Tensor, steps: int) -> None:
    """Raise UserError unless `z` [S, B, ...] serves `steps`: S is that number, or 1 for a constant input."""
    if steps < 1 or z.shape[0] not in (1, steps):
        raise UserError(f"input of shape {list(z.shape)} for {steps} steps: expected a first size of 1 or of the steps")
