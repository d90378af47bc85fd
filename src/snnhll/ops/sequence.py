"""Spikes of a layer with a hand-written gradient, from a kernel for either: the frame of the CUDA path.

`carried`, which kernels of the gradient take, serves the CPU path too.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor

from snnhll.ops.signature import LIFSettings
from snnhll.surrogates.surrogate import Surrogate


class Forward(Protocol):
    """The kernel of the spikes."""

    def __call__(self, current: Tensor, steps: int, settings: LIFSettings) -> Tensor:
        """Return the spikes [T, B, ...] of a current [S, B, ...]."""


class Backward(Protocol):
    """The kernel of their gradient; the membrane is computed again, not stored."""

    def __call__(
        self,
        current: Tensor,
        grad_spikes: Tensor,
        settings: LIFSettings,
        surrogate: Surrogate,
        carry: float,
        reset: float,
    ) -> Tensor:
        """Return the gradient of the current [S, B, ...] for that of the spikes [T, B, ...].

        carry: the decay where the gradient goes through time, else 0. reset: 1 where it also goes through the spike
        that resets, else 0.
        """


def differentiable(
    forward: Forward,
    backward: Backward,
    current: Tensor,
    steps: int,
    settings: LIFSettings,
    surrogate: Surrogate,
    through_time: bool,
    detach_reset: bool,
) -> Tensor:
    """Return `snnhll.ops.lif_sequence` as these two kernels compute it."""
    through = carried(settings, through_time, detach_reset)
    return cast(Tensor, _Sequence.apply(current, steps, settings, surrogate, through, (forward, backward)))


def carried(settings: LIFSettings, through_time: bool, detach_reset: bool) -> tuple[float, float]:
    """Return `carry` and `reset` of a `Backward` kernel."""
    return settings.decay if through_time else 0.0, 0.0 if detach_reset else 1.0


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        steps: int,
        settings: LIFSettings,
        surrogate: Surrogate,
        through: tuple[float, float],
        kernels: tuple[Forward, Backward],
    ) -> Tensor:
        ctx.save_for_backward(current)
        ctx.how, ctx.backward_kernel = (settings, surrogate, *through), kernels[1]
        return kernels[0](current, steps, settings)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.backward_kernel(ctx.saved_tensors[0], grads[0], *ctx.how), None, None, None, None, None
