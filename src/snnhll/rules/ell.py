"""Local classifiers on every layer at every time step (Ma et al. 2022, ELL and BELL; quoted as TSLL).

    L^l = 1/T Σ_t CE(y, C^l s^l[t]),    every layer descends its own L^l, with its input detached

temporal: false (ELL), the gradient of a step is that of its own membrane input alone; true (BELL), it also runs back
through the layer's own earlier steps. rule=fell carries the same dependence forward instead, by traces.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import PositiveInt
from snnhll.losses.loss import Activity
from snnhll.losses.prediction import PredictionLoss
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.course import Course
from snnhll.rules.layerwise import LayerwiseRule
from snnhll.rules.online import OnlineRule, Said
from snnhll.rules.pieces import Piece
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, descend


class ELLRule(LayerwiseRule):
    """A trained classifier a layer. head_size: maps are average-pooled to at most so many features for it."""

    heads: list[PredictionLoss]  # type: ignore[assignment]

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        temporal: bool = False,
        head_size: PositiveInt | None = 1024,
    ) -> None:
        super().__init__(network, make_optimizer, classifiers(network, head_size), through_time=temporal)

    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        loss = loss_of_steps(self.heads[i], piece.spikes, labels) / self.network.steps
        descend(self.optimizers[i], loss)
        return {"pred": loss.detach()}

    def evaluate(self, images: Tensor) -> Outcome:
        return with_heads(self.network, self.heads, images)


class FELLRule(OnlineRule):
    """The classifiers of ELL with presynaptic traces: the gradient of BELL, without a graph through time."""

    local: ClassVar[bool] = True
    heads: list[PredictionLoss]  # type: ignore[assignment]

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        update: str = "accumulate",
        head_size: PositiveInt | None = 1024,
    ) -> None:
        super().__init__(network, make_optimizer, update, classifiers(network, head_size))

    def learn_step(self, x: Tensor, labels: Tensor, courses: list[Course], t: int) -> Said:
        for course, head in zip(courses, self.heads, strict=True):
            spikes = course.step(x)
            (loss_of_steps(head, spikes.unsqueeze(0), labels) / self.network.steps).backward()
            x = course.send(spikes.detach())
        return self.learn_readout_step(x, labels)

    def evaluate(self, images: Tensor) -> Outcome:
        return with_heads(self.network, self.heads, images)


def classifiers(network: Network, head_size: int | None) -> list[torch.nn.Module]:
    """Return one linear classifier a block."""
    return [PredictionLoss(block.layer, network.classes, head_size) for block in network.blocks]


def loss_of_steps(head: PredictionLoss, spikes: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the head on spikes [S, B, ...], summed over the steps."""
    rate = rate_of(spikes.detach())
    return head(Activity(spikes, rate, rate), labels)


@torch.no_grad()
def with_heads(network: Network, heads: list[PredictionLoss], images: Tensor) -> Outcome:
    """Classify images without learning, with the scores of every layer's own classifier."""
    inference = network.infer(images)
    return Outcome(inference, [head.logits(r.float()) for head, r in zip(heads, inference.rates, strict=True)])
