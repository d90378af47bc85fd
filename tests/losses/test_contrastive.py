"""Contrastive loss (3-12) against a reference in numpy, default and on raw rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.losses.contrastive import ContrastiveLoss
from snnhll.losses.loss import Activity, Batch

B, EPS = 6, 1e-8
LABELS = [0, 2, 1, 1, 0, 2]
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "wide margin": {"margin": 1.4},
    "raw": {"normalise": False},
    "raw, wide margin": {"normalise": False, "margin": 2.5},
}


def reference(rates: np.ndarray, labels: list[int], normalise: bool = True, margin: float = 1.0) -> float:
    r = [x.flatten() for x in rates]
    if normalise:
        r = [x / np.sqrt(x @ x + EPS) for x in r]
    total = 0.0
    for i in range(len(r)):
        for j in range(len(r)):
            squared = ((r[i] - r[j]) ** 2).sum()
            if i != j and labels[i] == labels[j]:
                total += squared
            elif i != j:
                total += max(0.0, margin - np.sqrt(squared + EPS)) ** 2
    return total / (len(r) * (len(r) - 1))


def loss_of(loss: ContrastiveLoss, activity: Activity, labels: list[int]) -> Tensor:
    value: Tensor = loss(activity, loss.prepare(Batch(torch.empty(0), torch.tensor(labels), 3)))
    return value


@pytest.mark.parametrize("shape", [(7,), (2, 3, 2)], ids=["linear", "conv"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_value_and_gradient(
    see: Callable[..., Activity],
    slope: Callable[..., np.ndarray],
    values: Callable[[Tensor], np.ndarray],
    shape: tuple[int, ...],
    variant: dict[str, Any],
) -> None:
    activity, rate = (lambda a: (a, values(a.rate)))(see(1, B, *shape))
    value = loss_of(ContrastiveLoss(**variant), activity, LABELS)
    assert value.item() == pytest.approx(reference(rate, LABELS, **variant), rel=1e-10)
    (found,) = torch.autograd.grad(value, [activity.rate])
    np.testing.assert_allclose(found, slope(lambda r: reference(r, LABELS, **variant), rate), rtol=1e-6, atol=1e-9)


def test_only_attraction_acts_on_raw_rates_beyond_the_margin(see: Callable[..., Activity]) -> None:
    """Section 5, point 14: the rates of a convolution lie far apart, so different classes do not repel."""
    far = Activity(*(lambda a: (a.spikes * 100, a.rate * 100, a.source))(see(1, B, 50)))
    assert loss_of(ContrastiveLoss(normalise=False), far, [0, 1, 2, 3, 4, 5]).item() == 0
    assert loss_of(ContrastiveLoss(), far, [0, 1, 2, 3, 4, 5]).item() > 0


def test_default_does_not_depend_on_how_much_a_layer_fires(see: Callable[..., Activity]) -> None:
    a = see(1, B, 9)
    dim = Activity(a.spikes * 0.1, a.rate * 0.1, a.source)
    torch.testing.assert_close(
        loss_of(ContrastiveLoss(), dim, LABELS), loss_of(ContrastiveLoss(), a, LABELS), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("normalise", [True, False])
def test_silent_layer_has_the_value_of_the_margin_and_no_gradient(normalise: bool) -> None:
    silent = torch.zeros(B, 9, dtype=torch.float64, requires_grad=True)
    value = loss_of(ContrastiveLoss(normalise), Activity(silent[None], silent, silent), LABELS)
    different = sum(a != b for a in LABELS for b in LABELS)
    assert value.item() == pytest.approx((1 - 1e-4) ** 2 * different / (B * (B - 1)))
    (gradient,) = torch.autograd.grad(value, [silent])
    assert gradient.count_nonzero() == 0


def test_a_silent_sample_leaves_the_gradient_of_the_others(see: Callable[..., Activity]) -> None:
    """Scaled to unit length, a rate of almost 0 would have a gradient without bound."""
    rate = see(1, B, 9).rate.detach()
    rate[2] = 0
    rate.requires_grad_()
    value = loss_of(ContrastiveLoss(margin=1.4), Activity(rate[None], rate, rate), LABELS)
    assert value.item() == pytest.approx(reference(rate.detach().numpy(), LABELS, margin=1.4))
    (gradient,) = torch.autograd.grad(value, [rate])
    lengths = gradient.norm(dim=1)
    assert lengths[2] == 0
    assert (lengths > 0).sum() == B - 1


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_duplicates_have_finite_gradients(normalise: bool, labels: list[int]) -> None:
    same = torch.full((4, 9), 0.3, dtype=torch.float32, requires_grad=True)
    value = loss_of(ContrastiveLoss(normalise), Activity(same[None], same, same), labels)
    assert value.item() == pytest.approx(0.0 if len(set(labels)) == 1 else 8 / 12, abs=1e-3)
    (gradient,) = torch.autograd.grad(value, [same])
    assert gradient.isfinite().all()


def test_one_sample_has_no_pairs(see: Callable[..., Activity]) -> None:
    activity = see(1, 1, 9)
    value = loss_of(ContrastiveLoss(), activity, [0])
    assert value.item() == 0
    assert torch.autograd.grad(value, [activity.rate])[0].count_nonzero() == 0


def test_is_due_once_a_sample() -> None:
    assert ContrastiveLoss.once
