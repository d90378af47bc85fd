"""Heaviside step forward, surrogate derivative backward.

Forward is always the exact step H(x), H(0) = 1, of x = u - v_th. Only the derivative is replaced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor


class Surrogate(ABC):
    """A stand-in for the derivative of the Heaviside step, with one parameter that shapes it."""

    name: ClassVar[str]

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """Derivative used at `x = u - v_th`; same shape as `x`."""

    @property
    @abstractmethod
    def parameter(self) -> float:
        """The one parameter of the shape, for compiled kernels."""


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        ctx.surrogate = surrogate
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangents[0] * ctx.surrogate.derivative(x)


def spike(x: Tensor, surrogate: Surrogate) -> Tensor:
    """Return H(x) with the surrogate's derivative attached. x = u - v_th, any shape."""
    return cast(Tensor, _Spike.apply(x, surrogate))
