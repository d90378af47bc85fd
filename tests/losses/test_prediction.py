"""Prediction loss (3-3, 3-4, 3-19) against a reference in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.losses.loss import Activity, Batch
from snnhll.losses.prediction import PredictionLoss
from snnhll.networks.spec import Layer

B, CLASSES = 4, 3
LABELS = torch.tensor([0, 2, 1, 0])
LINEAR, CONV = Layer("linear", (4,), 6), Layer("conv", (1, 6, 6), 2, 3)


def head(layer: Layer, head_size: int | None = None) -> PredictionLoss:
    loss = PredictionLoss(layer, CLASSES, head_size).double()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return loss


def reference(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    """Σ_t mean over the batch of -log softmax(W s[t] + b)[y], for features [S, B, D]."""
    total = 0.0
    for step in features:
        for sample, label in zip(step, LABELS.tolist(), strict=True):
            scores = [float(np.dot(w, sample) + b) for w, b in zip(weight, bias, strict=True)]
            total += np.log(sum(np.exp(s) for s in scores)) - scores[label]
    return total / B


def blocks_of(maps: np.ndarray, side: int) -> np.ndarray:
    """Mean over equal blocks, [..., C, side, side], flattened."""
    step = maps.shape[-1] // side
    pooled = np.empty((*maps.shape[:-2], side, side))
    for i in range(side):
        for j in range(side):
            pooled[..., i, j] = maps[..., i * step : (i + 1) * step, j * step : (j + 1) * step].mean((-1, -2))
    return pooled.reshape(*maps.shape[:2], -1)


@pytest.mark.parametrize(
    ("layer", "head_size", "side", "steps"),
    [(LINEAR, 3, None, 1), (LINEAR, 3, None, 4), (CONV, None, None, 1), (CONV, 8, 2, 2), (CONV, 18, 3, 1)],
)
def test_value_and_gradients(
    see: Callable[..., Activity],
    slope: Callable[..., np.ndarray],
    values: Callable[[Tensor], np.ndarray],
    layer: Layer,
    head_size: int | None,
    side: int | None,
    steps: int,
) -> None:
    loss, activity = head(layer, head_size), see(steps, B, *layer.out_shape)

    def features(x: np.ndarray) -> np.ndarray:
        return x.reshape(steps, B, -1) if side is None else blocks_of(x, side)

    weight, bias, spikes = values(loss.classifier.weight), values(loss.classifier.bias), values(activity.spikes)
    value = loss(activity, loss.prepare(Batch(torch.empty(0), LABELS, CLASSES)))
    assert value.item() == pytest.approx(reference(features(spikes), weight, bias), rel=1e-12)
    wanted = [activity.spikes, loss.classifier.weight, loss.classifier.bias]
    for found, expected in zip(
        torch.autograd.grad(value, wanted),
        [
            slope(lambda x: reference(features(x), weight, bias), spikes),
            slope(lambda w: reference(features(spikes), w, bias), weight),
            slope(lambda b: reference(features(spikes), weight, b), bias),
        ],
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_starts_at_chance_without_a_gradient_for_the_layer(see: Callable[..., Activity]) -> None:
    activity, loss = see(3, B, 6), PredictionLoss(LINEAR, CLASSES).double()
    value = loss(activity, LABELS)
    assert value.item() == pytest.approx(3 * np.log(CLASSES))
    spikes, weight = torch.autograd.grad(value, [activity.spikes, loss.classifier.weight])
    assert spikes.count_nonzero() == 0
    assert weight.count_nonzero() > 0


def test_silent_layer_and_batch_of_one_class(see: Callable[..., Activity]) -> None:
    loss, silent = head(LINEAR), torch.zeros(2, B, 6, dtype=torch.float64, requires_grad=True)
    value = loss(Activity(silent, silent.mean(0), silent), torch.zeros(B, dtype=torch.long))
    expected = -2 * torch.log_softmax(loss.classifier.bias.detach(), 0)[0]
    assert value.item() == pytest.approx(expected.item())
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, [silent, loss.classifier.weight]))


def test_logits_of_a_rate_are_the_mean_of_those_of_its_spikes(see: Callable[..., Activity]) -> None:
    loss, activity = head(CONV, 8), see(4, B, *CONV.out_shape)
    steps = torch.stack([loss.logits(s) for s in activity.spikes])
    torch.testing.assert_close(loss.logits(activity.rate), steps.mean(0))
