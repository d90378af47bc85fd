"""Spatial learning through time (Meng et al. 2023): backpropagation through layers at each step, nothing through time.

    ΔW^l = -η Σ_{t in K} δ^l[t] x^l[t]ᵀ,    δ^l[t] = (W^{l+1}ᵀ δ^{l+1}[t]) ⊙ ψ(u^l[t] - v_th)

K is all T steps or, with `backward_steps` = K (SLTT-K), that many drawn at random for each batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.build import PositiveInt
from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.rules.course import Course
from snnhll.rules.online import Said
from snnhll.rules.ottt import OTTTRule
from snnhll.rules.rule import MakeOptimizer, Metrics


class SLTTRule(OTTTRule):
    """The spatial part of OTTT alone, at all or some time steps."""

    traced = False

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        update: str = "accumulate",
        backward_steps: PositiveInt | None = None,
    ) -> None:
        super().__init__(network, make_optimizer, update)
        if backward_steps is not None and backward_steps > network.steps:
            raise UserError(f"rule.backward_steps: {backward_steps} is more than trainer.steps={network.steps}.")
        self.count = network.steps if backward_steps is None else backward_steps
        self.chosen = set(range(network.steps))

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        if self.count < self.network.steps:
            self.chosen = set(torch.randperm(self.network.steps)[: self.count].tolist())
        return super().step(images, labels)

    def learn_step(self, x: Tensor, labels: Tensor, courses: list[Course], t: int) -> Said:
        if t in self.chosen:
            return super().learn_step(x, labels, courses, t)
        with torch.no_grad():
            for course in courses:
                x = course.send(course.step(x))
            return self.readout(x, labels)
