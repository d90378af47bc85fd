"""DECOLLE (Kaiser, Mostafa & Neftci 2020): a fixed random readout on every layer, local errors at every time step.

    y^l[t] = G^l s^l[t],    L^l[t] = smooth L1(y^l[t] - one-hot label),    ΔW^l_ij = -η ∂L^l/∂s_i[t] ψ(u_i[t]) x̄_j[t]

G^l is random and never trained; x̄ is the presynaptic trace (snnhll/rules/course.py), so that nothing is stored over
time. trainer.update=online, an update at every step, is the paper's; accumulate sums over the steps of a batch.
Left out are the paper's two regularisers of membranes, which keep neurons near the threshold; normalisation does here.
The network's own readout, which predicts, is trained beside the layers on their detached spikes.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.rules.course import Course
from snnhll.rules.online import OnlineRule, Said
from snnhll.rules.rule import MakeOptimizer, Outcome


class DECOLLERule(OnlineRule):
    """Random local readouts; `heads` holds them."""

    local: ClassVar[bool] = True

    def __init__(self, network: Network, make_optimizer: MakeOptimizer, update: str = "accumulate") -> None:
        sizes = [prod(block.layer.out_shape) for block in network.blocks]
        readouts: list[nn.Module] = [nn.Linear(size, network.classes).requires_grad_(False) for size in sizes]
        super().__init__(network, make_optimizer, update, readouts)

    def learn_step(self, x: Tensor, labels: Tensor, courses: list[Course], t: int) -> Said:
        wanted = F.one_hot(labels, self.network.classes)
        for course, readout in zip(courses, self.heads, strict=True):
            spikes = course.step(x)
            said = readout(spikes.flatten(1).to(self.network.readout.weight.dtype))
            F.smooth_l1_loss(said, wanted.to(said.dtype)).backward()
            x = course.send(spikes.detach())
        return self.learn_readout_step(x, labels)

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        inference = self.network.infer(images)
        scores = [head(rate.float().flatten(1)) for head, rate in zip(self.heads, inference.rates, strict=True)]
        return Outcome(inference, list(scores))
