"""Rules that learn forward in time: at every step from that step's error, without a graph of earlier steps.

Memory does not grow with T. The readout sees the spikes of a step, y[t] = W s[t], and its loss is CE(y, y[t]) / T.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.rules.course import Course, leak, run_courses
from snnhll.rules.requirements import alike_at_every_step
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct

Said = tuple[Tensor, Tensor]  # logits [B, classes] of one step, and their loss CE(y, y[t]) / T


class OnlineRule(Rule):
    """The loop over time. `traced`: whether gradients carry what earlier steps did (snnhll/rules/course.py).

    update: "online" steps the optimiser at every time step, "accumulate" once a batch. heads: one module a block that
    belongs to the layer while it learns.
    """

    traced: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        update: str = "accumulate",
        heads: list[nn.Module] | None = None,
    ) -> None:
        super().__init__(network)
        self.heads: list[nn.Module] = nn.ModuleList(heads or [])  # type: ignore[assignment]
        if update not in ("online", "accumulate"):
            raise UserError(f"trainer.update: {update!r} is on rates, this rule learns at every step; use accumulate.")
        alike_at_every_step(network, "learning forward in time")
        if self.traced:
            for block in network.blocks:
                leak(block)
        self.update = update
        learned = (*network.parameters(), *(p for head in self.heads for p in head.parameters() if p.requires_grad))
        self.optimizers = [make_optimizer(learned)]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        net, optimizer = self.network, self.optimizers[0]
        coded, courses = net.encode(images), run_courses(net, self.traced)
        total = torch.zeros(len(labels), net.classes, device=labels.device, dtype=net.readout.weight.dtype)
        value = total.new_zeros(())
        optimizer.zero_grad(set_to_none=True)
        for t in range(net.steps):
            logits, loss = self.learn_step(coded[t % len(coded)], labels, courses, t)
            if self.update == "online":
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            total += logits
            value += loss
        if self.update == "accumulate":
            optimizer.step()
        return {"readout/pred": value, "correct": correct(total, labels)}

    @abstractmethod
    def learn_step(self, x: Tensor, labels: Tensor, courses: list[Course], t: int) -> Said:
        """Run step t on input x [B, ...], add its gradients, and return what the readout said, detached."""

    def readout(self, x: Tensor, labels: Tensor) -> Said:
        """Return what the readout says of its input x [B, ...] of one step."""
        logits = self.network.classify(x)
        return logits, F.cross_entropy(logits, labels) / self.network.steps

    def learn_readout_step(self, x: Tensor, labels: Tensor) -> Said:
        """Add the gradient of the readout's loss for its input x [B, ...] of one step, which reaches what x comes from;
        return what it said, detached."""
        logits, loss = self.readout(x, labels)
        loss.backward()
        return logits.detach(), loss.detach()
