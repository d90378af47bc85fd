"""Adam (Kingma & Ba 2015) and, with decoupled weight decay, AdamW (Loshchilov & Hutter 2019).

The update is torch's own fused one, to the bit. What is left out is the class around it, torch.optim.Optimizer: it
imports torch's compiler when the first optimiser is made, which takes longer than a run's first steps, and its hooks
are 7 % of a training step of a small network (docs/performance.md).
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from snnhll.build import NonNegative, Positive, Range

Decay = Annotated[float, Range(0, 1, open_high=True)]


class Moments(NamedTuple):
    """What is remembered of one parameter: how many steps it took, running means of its gradient and of its square."""

    step: Tensor
    first: Tensor
    second: Tensor


class Adam:
    """Adam over `params`; a parameter without a gradient stays where it is.

    betas: decay of the running means, per step. eps: added to the root of the second one. weight_decay: added to the
    gradient, or, where decoupled, taken off the weight by itself.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: NonNegative,
        betas: tuple[Decay, Decay] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        decoupled: bool = False,
    ) -> None:
        self.params = params
        self.decoupled = decoupled
        self.param_groups: list[dict[str, Any]] = [{"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}]
        self.moments: dict[int, Moments] = {}
        self.steps: Tensor | None = None  # taken by each parameter; the moments have views of it

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; they are always set to none."""
        for parameter in self.params:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        grads = {i: p.grad for i, p in enumerate(self.params) if p.grad is not None}
        if not grads:
            return
        moments = [self._moments(i) for i in grads]
        self._count(list(grads))
        update = torch._fused_adamw_ if self.decoupled else torch._fused_adam_
        (group,) = self.param_groups
        update(
            [self.params[i] for i in grads],
            [_laid_out_as(self.params[i], grad) for i, grad in grads.items()],
            [m.first for m in moments],
            [m.second for m in moments],
            [],  # the largest second moments so far, which amsgrad would keep
            [m.step for m in moments],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs, but for the parameters."""
        return {
            "moments": {i: tuple(m) for i, m in self.moments.items()},
            "param_groups": [dict(group) for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict()` returned."""
        self.param_groups = [dict(group) for group in state_dict["param_groups"]]
        self.moments, self.steps = {}, None
        for i, saved in state_dict["moments"].items():
            for here, there in zip(self._moments(i), saved, strict=True):
                here.copy_(there)

    def _moments(self, i: int) -> Moments:
        """Moments of parameter i, in its memory order; zero before its first step."""
        if i not in self.moments:
            like = self.params[i]
            if self.steps is None:
                self.steps = torch.zeros(len(self.params), dtype=torch.float32, device=like.device)
            self.moments[i] = Moments(self.steps[i], torch.zeros_like(like), torch.zeros_like(like))
        return self.moments[i]

    def _count(self, due: list[int]) -> None:
        """Count a step of these parameters: of all of them in one call, as is the rule."""
        assert self.steps is not None
        if len(due) == len(self.params):
            self.steps += 1
        else:
            for i in due:
                self.moments[i].step.add_(1)


def _laid_out_as(parameter: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient in the parameter's memory order, in which the fused update walks through both."""
    return grad if grad.stride() == parameter.stride() else torch.empty_like(parameter).copy_(grad)
