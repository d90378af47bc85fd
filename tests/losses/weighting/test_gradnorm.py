"""GradNorm against the paper's own loss, L_grad, differentiated by autograd."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from snnhll.losses.weighting.gradnorm import GradNorm

START = {"a": 0.5, "b": 1.2, "c": 0.3}
positive = st.floats(0.01, 100)
three = st.lists(positive, min_size=3, max_size=3).map(lambda x: torch.tensor(x, dtype=torch.float64))


def network(seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    """A matrix W and three losses of it that share nothing else."""
    draw = torch.Generator().manual_seed(seed)
    W = torch.randn(4, 6, generator=draw, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 6, generator=draw, dtype=torch.float64)
    y = x @ W.t()
    return W, [F.cross_entropy(y, torch.tensor([0, 1, 2, 3, 0])), 7 * y.square().mean(), (y - 1).abs().mean()]


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_the_gradient_is_that_of_the_papers_loss(alpha: float) -> None:
    weighting = GradNorm(START, alpha=alpha).double()
    W, losses = network()
    weighting.first.copy_(torch.tensor([1.0, 9.0, 2.0]))
    w = weighting.current.clone().requires_grad_()

    G = torch.stack([torch.autograd.grad(w[k] * losses[k], W, create_graph=True)[0].norm() for k in range(3)])
    relative = torch.stack([loss / first for loss, first in zip(losses, (1.0, 9.0, 2.0), strict=True)]).detach()
    target = (G.mean() * (relative / relative.mean()) ** alpha).detach()
    (expected,) = torch.autograd.grad((G - target).abs().sum(), w)

    lengths = torch.stack([torch.autograd.grad(loss, W, retain_graph=True)[0].norm() for loss in losses])
    torch.testing.assert_close(weighting.gradient(torch.stack(losses).detach(), lengths), expected)


@given(three, three, three)
def test_a_step_goes_down_that_gradient_in_log_w_and_keeps_the_sum(
    first: Tensor, losses: Tensor, norms: Tensor
) -> None:
    weighting = GradNorm(START, alpha=1.0, lr=0.1).double()
    weighting.adapt(first, lambda: norms)
    before = weighting.current.tolist()
    weighting.adapt(losses, lambda: norms)
    pull = [w * n for w, n in zip(before, norms.tolist(), strict=True)]
    mean = sum(pull) / 3
    left = [after / start for after, start in zip(losses.tolist(), first.tolist(), strict=True)]
    moved = []
    for k in range(3):
        wanted = mean * left[k] / (sum(left) / 3)
        sign = 0.0 if math.isclose(pull[k], wanted, rel_tol=1e-9) else math.copysign(1.0, pull[k] - wanted)
        if sign == 0.0:
            return  # rounding decides
        moved.append(before[k] * math.exp(-0.1 * sign * pull[k] / mean))
    expected = [w * 2.0 / sum(moved) for w in moved]
    assert weighting.current.tolist() == pytest.approx(expected)
    assert sum(weighting.current.tolist()) == pytest.approx(2.0)


def test_without_preference_the_terms_come_to_pull_equally_hard() -> None:
    weighting, norms = GradNorm({"a": 0.5, "b": 0.5}, alpha=0.0, lr=0.01), torch.tensor([1.0, 40.0])
    for _ in range(1000):
        weighting.adapt(torch.tensor([2.0, 300.0]), lambda: norms)
    a, b = (weighting.current * norms).tolist()
    assert a == pytest.approx(b, rel=0.05)


def test_a_term_that_lags_behind_is_preferred() -> None:
    weighting, norms = GradNorm({"a": 0.5, "b": 0.5}, alpha=1.5, lr=0.01), torch.ones(2)
    weighting.adapt(torch.tensor([2.0, 2.0]), lambda: norms)
    for _ in range(20):
        weighting.adapt(torch.tensor([2.0, 0.5]), lambda: norms)
    assert weighting.current[0] > 0.55


def test_a_layer_without_any_gradient_keeps_its_weights() -> None:
    weighting = GradNorm(START)
    weighting.adapt(torch.tensor([2.0, 0.0, 1.0]), lambda: torch.zeros(3))
    assert weighting.current.tolist() == pytest.approx([*START.values()])
