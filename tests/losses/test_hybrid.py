"""The weighted sum of terms (3-13..3-16)."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.loss import Activity, Batch, Loss
from snnhll.losses.prediction import PredictionLoss
from snnhll.losses.similarity import SimilarityLoss
from snnhll.networks.spec import parse


class Linear(Loss):
    """`slope` times the sum of the rate."""

    def __init__(self, slope: float, scores: Tensor | None = None) -> None:
        super().__init__()
        self.slope, self.scores, self.prepared = nn.Parameter(torch.tensor(slope)), scores, 0

    def prepare(self, batch: Batch) -> Any:
        self.prepared += 1
        return self.prepared

    def forward(self, activity: Activity, target: Any) -> Tensor:
        return self.slope * activity.rate.sum() * target

    def logits(self, rate: Tensor) -> Tensor | None:
        return self.scores


class Once(Linear):
    once: ClassVar[bool] = True


BATCH = Batch(torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]), 2)


def activity(last: bool = True) -> Activity:
    rate = torch.tensor([[1.0], [2.0]], requires_grad=True)
    return Activity(rate.unsqueeze(0), rate, rate.detach(), last)


def test_sum_and_gradient_carry_the_weights() -> None:
    loss, seen = HybridLoss({"a": Linear(2.0), "b": Linear(5.0)}, {"a": 0.9, "b": 0.1}), activity()
    total, values = loss(seen, loss.prepare(BATCH))
    assert total.item() == pytest.approx(3 * (0.9 * 2 + 0.1 * 5))
    assert {name: v.item() for name, v in values.items()} == {"a": 6.0, "b": 15.0}
    assert not any(v.requires_grad for v in values.values())
    assert torch.autograd.grad(total, [seen.rate])[0].flatten().tolist() == pytest.approx([2.3, 2.3])


def test_terms_due_once_a_sample_wait_for_the_last_step() -> None:
    loss = HybridLoss({"a": Linear(2.0), "b": Once(5.0)}, {"a": 1.0, "b": 1.0})
    targets = loss.prepare(BATCH)
    total, values = loss(activity(last=False), targets)
    assert (total.item(), list(values)) == (6.0, ["a"])
    total, values = loss(activity(last=True), targets)
    assert (total.item(), list(values)) == (21.0, ["a", "b"])


def test_nothing_is_due_before_the_last_step_of_terms_on_rates() -> None:
    loss = HybridLoss({"b": Once(5.0)}, {"b": 1.0})
    assert loss(activity(last=False), loss.prepare(BATCH)) == (None, {})


def test_each_term_prepares_the_batch_for_itself() -> None:
    terms = {"a": Linear(1.0), "b": Linear(1.0)}
    loss = HybridLoss(terms, {"a": 1.0, "b": 1.0})
    terms["b"].prepare(BATCH)
    assert loss.prepare(BATCH) == {"a": 1, "b": 2}


def test_head_is_that_of_the_first_term_with_one() -> None:
    first, second = torch.zeros(2, 2), torch.ones(2, 2)
    rate = activity().rate
    loss = HybridLoss({"a": Linear(1.0), "b": Linear(1.0, first), "c": Linear(1.0, second)}, {"a": 1, "b": 1, "c": 1})
    assert loss.logits(rate) is first
    assert HybridLoss({"a": Linear(1.0)}, {"a": 1.0}).logits(rate) is None


def test_heads_of_all_terms_are_parameters() -> None:
    assert len(list(HybridLoss({"a": Linear(1.0), "b": Once(2.0)}, {"a": 1.0, "b": 1.0}).parameters())) == 2


class Sparse(PredictionLoss):
    """A loss of a user's: prediction, and few spikes, so more than pooled maps."""

    def forward(self, activity: Activity, target: Any) -> Tensor:
        return super().forward(activity, target) + activity.rate.mean()


def test_side_is_that_of_terms_which_look_at_nothing_but_pooled_maps() -> None:
    [layer, _] = parse("8C3-FC4-n", (1, 8, 8), 4)
    pred, sim = PredictionLoss(layer, 4, 32), SimilarityLoss(layer, head_size=32)

    def side(**terms: Loss) -> int | None:
        return HybridLoss(terms, dict.fromkeys(terms, 1.0)).side

    assert side(pred=pred) == side(pred=pred, sim=sim) == 2
    assert side(pred=pred, sim=SimilarityLoss(layer, head_size=128)) is None
    assert side(pred=PredictionLoss(layer, 4, None)) is None
    assert side(pred=pred, other=Linear(1.0)) is None
    assert side(pred=Sparse(layer, 4, 32)) is None
