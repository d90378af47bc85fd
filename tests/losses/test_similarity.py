"""Similarity matching (3-7..3-9) against a reference in numpy, default and literal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhll.losses.loss import Activity, Batch
from snnhll.losses.similarity import SimilarityLoss
from snnhll.networks.spec import Layer

B, CLASSES, EPS = 4, 3, 1e-8
LABELS = [0, 2, 1, 0]
LINEAR, CONV = Layer("linear", (4,), 6), Layer("conv", (1, 4, 4), 3, 3)
LITERAL: dict[str, Any] = {"centre": False, "spatial": "flatten", "scale": "sum"}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "literal": LITERAL,
    "mean": {"scale": "mean"},
    "pooled": {"head_size": 12},
    "pooled to a pixel": {"head_size": 3},
    "no projection": {"projection": False},
    "literal without projection": LITERAL | {"projection": False},
    "embedding": {"embedding": 4},
}


def convolved(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolution with zero padding of [N, C, H, W]: the sum over as many shifted maps as a kernel has entries."""
    (height, width), side = maps.shape[2:], weight.shape[2]
    padded = np.pad(maps, ((0, 0), (0, 0), (side // 2,) * 2, (side // 2,) * 2))
    shifts = [(i, j) for i in range(side) for j in range(side)]
    return sum(
        np.einsum("nchw,oc->nohw", padded[:, :, i : i + height, j : j + width], weight[:, :, i, j]) for i, j in shifts
    )


def features(x: np.ndarray, weight: np.ndarray | None, variant: dict[str, Any]) -> np.ndarray:
    """Feature vectors [N, D] of activity [N, ...]."""
    if x.ndim == 2:
        return x if weight is None else x @ weight.T
    side = {12: 2, 3: 1}.get(variant.get("head_size", 0), 4)
    step = 4 // side
    x = x.reshape(*x.shape[:2], side, step, side, step).mean((3, 5))
    z = x if weight is None else convolved(x, weight)
    if variant.get("spatial") == "flatten" or side == 1:
        return z.reshape(len(z), -1)
    return np.sqrt(z.var((2, 3)) + EPS)


def cosine(a: np.ndarray, b: np.ndarray, centre: bool) -> float:
    if centre:
        a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt(a @ a + EPS) / np.sqrt(b @ b + EPS))


def reference(spikes: np.ndarray, weight: np.ndarray | None, variant: dict[str, Any]) -> float:
    centre = variant.get("centre", True)
    Y, total = np.eye(CLASSES)[LABELS], 0.0
    for step in spikes:
        e = features(step, weight, variant)
        for i in range(B):
            for j in range(B):
                total += (cosine(e[i], e[j], centre) - cosine(Y[i], Y[j], centre)) ** 2
    return total * {"sum": 1, "mean": 1 / B**2, "pairs": 64**2 / B**2}[variant.get("scale", "pairs")]


@pytest.mark.parametrize(("layer", "steps"), [(LINEAR, 1), (LINEAR, 3), (CONV, 1)])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_value_and_gradients(
    see: Callable[..., Activity],
    slope: Callable[..., np.ndarray],
    values: Callable[[Tensor], np.ndarray],
    layer: Layer,
    variant: dict[str, Any],
    steps: int,
) -> None:
    torch.manual_seed(0)
    loss, activity = SimilarityLoss(layer, **variant).double(), see(steps, B, *layer.out_shape)
    target = loss.prepare(Batch(torch.empty(0, dtype=torch.float64), torch.tensor(LABELS), CLASSES))
    value = loss(activity, target)
    projection = next(loss.parameters(), None)
    weight, spikes = None if projection is None else values(projection), values(activity.spikes)
    assert value.item() == pytest.approx(reference(spikes, weight, variant), rel=1e-10)
    wanted = [activity.spikes, *loss.parameters()]
    found = torch.autograd.grad(value, wanted)
    expected = [slope(lambda x: reference(x, weight, variant), spikes)]
    if weight is not None:
        expected.append(slope(lambda w: reference(spikes, w, variant), weight))
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * np.abs(other).max())


def test_embedding_sets_the_length_of_vectors_only() -> None:
    wide, maps = SimilarityLoss(LINEAR, embedding=9).projection, SimilarityLoss(CONV, embedding=9).projection
    narrow = SimilarityLoss(LINEAR, embedding=4).projection
    assert isinstance(wide, nn.Linear)
    assert isinstance(narrow, nn.Linear)
    assert narrow.weight.shape == (4, 6)
    assert wide.weight.shape == (6, 6)  # at most as long as its input
    assert isinstance(maps, nn.Conv2d)
    assert maps.weight.shape == (3, 3, 3, 3)


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (Layer("linear", (5,), 16), {"embedding": 1}),
        (Layer("linear", (5,), 1), {}),
        (Layer("conv", (2, 4, 4), 1, 3), {}),
        (Layer("conv", (2, 4, 4), 1, 3), {"spatial": "flatten", "head_size": 1}),
    ],
)
def test_one_feature_does_not_differ_from_its_mean(layer: Layer, options: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match=r"^loss.terms.sim.centre: a layer with one feature"):
        loss = SimilarityLoss(layer, **options)
    rate = torch.rand(6, *layer.out_shape, requires_grad=True)
    value = loss(Activity(rate[None], rate, rate), loss.prepare(Batch(torch.empty(0), torch.arange(6) % 3, 3)))
    assert torch.autograd.grad(value, [rate])[0].count_nonzero() == 0


@pytest.mark.filterwarnings("error")
def test_one_feature_that_is_not_centred_and_two_that_are_pass_without_a_word() -> None:
    SimilarityLoss(Layer("linear", (5,), 1), centre=False)
    SimilarityLoss(Layer("linear", (5,), 2))


def test_one_pixel_has_no_neighbours_for_a_projection_to_weigh() -> None:
    pooled, wide = Layer("conv", (1, 8, 8), 64, 3), Layer("conv", (1, 1, 1), 64, 3)
    for loss, kernel in (
        (SimilarityLoss(pooled, head_size=64), 1),
        (SimilarityLoss(pooled, head_size=256), 3),
        (SimilarityLoss(pooled), 3),
        (SimilarityLoss(wide), 1),
    ):
        assert isinstance(loss.projection, nn.Conv2d)
        assert loss.projection.kernel_size == (kernel, kernel)
        assert loss.features(torch.rand(2, 64, kernel, kernel)).shape == (2, 64)


def test_printed_scale_is_the_sum_at_64_samples_and_independent_of_the_batch_otherwise() -> None:
    draw = torch.Generator().manual_seed(0)
    x, labels = torch.rand(1, 64, 6, generator=draw), torch.arange(64) % CLASSES
    loss, printed = (SimilarityLoss(LINEAR, projection=False, scale=scale) for scale in ("pairs", "sum"))
    target = loss.prepare(Batch(x, labels, CLASSES))
    torch.testing.assert_close(loss(Activity(x, x[0], x), target), printed(Activity(x, x[0], x), target))
    twice, targets = x.repeat(1, 2, 1), loss.prepare(Batch(x, labels.repeat(2), CLASSES))
    torch.testing.assert_close(loss(Activity(twice, twice[0], x), targets), loss(Activity(x, x[0], x), target))


@pytest.mark.parametrize("centre", [True, False])
def test_target_is_the_similarity_of_one_hot_labels(centre: bool) -> None:
    target = SimilarityLoss(LINEAR, centre=centre).prepare(Batch(torch.empty(0), torch.tensor(LABELS), CLASSES))
    same = torch.tensor(LABELS)[:, None] == torch.tensor(LABELS)
    torch.testing.assert_close(target, torch.where(same, 1.0, -1 / (CLASSES - 1) if centre else 0.0))


@pytest.mark.parametrize("variant", [{}, LITERAL], ids=["default", "literal"])
@pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["linear", "conv"])
def test_silent_layer_is_unlike_everything_and_has_finite_gradients(layer: Layer, variant: dict[str, Any]) -> None:
    loss = SimilarityLoss(layer, **variant).double()
    silent = torch.zeros(2, B, *layer.out_shape, dtype=torch.float64, requires_grad=True)
    target = loss.prepare(Batch(silent, torch.tensor(LABELS), CLASSES))
    value = loss(Activity(silent, silent.mean(0), silent), target)
    scale = 1 if variant else 64**2 / B**2
    assert value.item() == pytest.approx(2 * scale * target.square().sum().item())
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, [silent, *loss.parameters()]))


@pytest.mark.parametrize("variant", [{}, {"spatial": "flatten"}, LITERAL], ids=["default", "flatten", "literal"])
@pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["linear", "conv"])
def test_a_silent_sample_among_others_gets_no_gradient(
    layer: Layer, variant: dict[str, Any], see: Callable[..., Activity]
) -> None:
    """That of a unit vector at zero would be thousands of times that of the samples which are heard."""
    loss = SimilarityLoss(layer, **variant).double()
    spikes = (see(2, B, *layer.out_shape).spikes > 0.5).double()
    spikes[0, 2] = 0
    spikes.requires_grad_()
    target = loss.prepare(Batch(spikes, torch.tensor(LABELS), CLASSES))
    (gradient,) = torch.autograd.grad(loss(Activity(spikes, spikes.mean(0), spikes), target), spikes)
    assert (gradient[0, 2] == 0).all()
    heard = gradient.flatten(2).abs().amax(2)
    assert (heard > 0).sum() == 2 * B - 1


@pytest.mark.parametrize("variant", [{}, LITERAL], ids=["default", "literal"])
def test_batch_of_one_class_wants_all_samples_alike(see: Callable[..., Activity], variant: dict[str, Any]) -> None:
    loss = SimilarityLoss(LINEAR, projection=False, **variant).double()
    target = loss.prepare(Batch(torch.empty(0, dtype=torch.float64), torch.zeros(B, dtype=torch.long), CLASSES))
    torch.testing.assert_close(target, torch.ones(B, B, dtype=torch.float64), atol=1e-6, rtol=0)
    unlike = see(1, B, 6)
    alike = unlike.spikes[:, :1].detach().expand(1, B, 6)
    assert loss(Activity(alike, alike[0], alike), target).item() == pytest.approx(0, abs=1e-9)
    assert loss(unlike, target).item() > 1e-3
