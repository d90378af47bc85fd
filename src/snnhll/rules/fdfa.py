"""Forward-gradient direct feedback alignment (Bacho & Chu 2024, FDFA): the feedback of dfa learns, by forward passes.

    u^l ~ N(0, 1) at what layer l sends,    d = Σ_l (∂y/∂r^l) u^l        the directional derivative of the logits y
    B^l <- (1 - α) B^l + α mean over the batch of u^l dᵀ                  since E[u^l dᵀ] = (∂y/∂r^l)ᵀ

d is carried forward beside the activity (forward-mode differentiation) with the surrogate derivative of the spikes,
within each time step. No weight is used backwards; what B^l learns is what the forward weights do.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from snnhll.build import Range
from snnhll.networks.mode import evaluating
from snnhll.networks.network import Network
from snnhll.rules.course import run_courses
from snnhll.rules.dfa import DFARule
from snnhll.rules.requirements import alike_at_every_step
from snnhll.rules.rule import MakeOptimizer, Metrics


class FDFARule(DFARule):
    """Direct feedback whose matrices follow directional derivatives. follow: α."""

    residual: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        follow: Annotated[float, Range(0, 1, open_low=True)] = 0.1,
        through_time: bool = True,
    ) -> None:
        super().__init__(network, make_optimizer, through_time=through_time)
        alike_at_every_step(network, "fdfa")
        self.follow = follow

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        shapes = [block.layer.pooled_shape for block in self.network.blocks]
        directions = [torch.randn(len(images), *shape, device=images.device) for shape in shapes]
        change = self.derivative(images, directions)
        for matrix, u in zip(self.feedback.matrices, directions, strict=True):
            found = torch.tensordot(change.to(u.dtype), u, ([0], [0])) / len(images)
            matrix.data.lerp_(found.to(matrix.dtype), self.follow)
        return super().step(images, labels)

    @torch.no_grad()
    def derivative(self, images: Tensor, directions: list[Tensor]) -> Tensor:
        """Return d, [B, classes], for a direction [B, ...] at the rate of what each block sends."""
        net = self.network
        coded, courses = net.encode(images), run_courses(net)
        total = torch.zeros(len(images), net.classes, device=images.device, dtype=net.readout.weight.dtype)
        with evaluating(net), forward_ad.dual_level():  # statistics of normalisation stay as they are
            for t in range(net.steps):
                x = coded[t % len(coded)]
                for course, u in zip(courses, directions, strict=True):
                    x = shifted(course.send(course.step(x)), u)
                tangent = forward_ad.unpack_dual(net.classify(x)).tangent
                assert tangent is not None
                total += tangent / net.steps
        return total


def shifted(x: Tensor, direction: Tensor) -> Tensor:
    """Return x with `direction` added to its tangent."""
    primal, tangent = forward_ad.unpack_dual(x)
    direction = direction.to(primal.dtype)
    return forward_ad.make_dual(primal, direction if tangent is None else tangent + direction)
