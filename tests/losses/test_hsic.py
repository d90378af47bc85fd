"""The HSIC loss: its value from sums over pairs, its work per batch, and that nothing breaks on awkward batches."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.build import build
from snnhll.errors import UserError
from snnhll.kernels.cosine import Cosine
from snnhll.kernels.gaussian import Gaussian
from snnhll.kernels.hsic import hsic
from snnhll.kernels.kernel import Kernel
from snnhll.kernels.laplacian import Laplacian
from snnhll.kernels.linear import Linear
from snnhll.kernels.sigmoid import Sigmoid
from snnhll.losses.hsic import HSICLoss
from snnhll.losses.loss import Activity, Batch

KERNELS: list[Kernel] = [Linear(), Cosine(), Cosine(True), Gaussian(), Laplacian(), Laplacian(norm="l1"), Sigmoid()]
OBJECTIVES = ["xz", "zz"]


def batch(samples: int = 8, classes: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(samples, 1, 3, 3, generator=generator).to(dtype)
    return Batch(images, torch.arange(samples) % classes, classes)


def activity(*shape: int, steps: int = 1, seed: int = 1, dtype: torch.dtype = torch.float64) -> Activity:
    spikes = torch.rand(steps, *shape, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()
    return Activity(spikes, spikes.mean(0), torch.zeros(shape[0], 1))


def value(loss: HSICLoss, seen: Activity, of: Batch) -> Tensor:
    return loss(seen, loss.prepare(of))


def gaussian(x: np.ndarray, sigma: float) -> np.ndarray:
    return np.array([[np.exp(-((a - b) ** 2).sum() / (2 * sigma**2)) for b in x] for a in x])


def approximate(K: np.ndarray, L: np.ndarray) -> float:
    return float((K * L).mean() - K.mean() * L.mean())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_as_printed_equals_a_computation_of_its_own(objective: Any) -> None:
    seen, of = activity(8, 5), batch()
    loss = HSICLoss(Gaussian(5.0, "fixed"), objective, 2.0, "approximate", "same", "flat")
    x = gaussian(of.images.flatten(1).numpy(), 5.0)
    y = gaussian(np.eye(4)[of.labels.numpy()], 5.0)
    z = gaussian(seen.rate.detach().numpy(), 5.0)
    expected = approximate(x if objective == "xz" else z, z) - 2 * approximate(z, y)
    assert value(loss, seen, of).item() == pytest.approx(expected, rel=1e-9)


def test_cosine_label_kernel_is_one_within_and_negative_between_classes() -> None:
    seen, of = activity(8, 5), batch()
    same = (of.labels[:, None] == of.labels[None, :]).numpy()
    y = np.where(same, 1.0, -1 / 3)
    z = Gaussian()(seen.rate).detach().numpy()
    loss = HSICLoss(Gaussian(), "zz", 3.0, features="flat")
    assert value(loss, seen, of).item() == pytest.approx(approximate(z, z) - 3 * approximate(z, y))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_spikes_step_by_step_sum_over_time(objective: Any) -> None:
    of, seen = batch(), activity(8, 6, steps=3)
    loss = HSICLoss(Gaussian(), objective, features="flat")
    steps = [Activity(s.unsqueeze(0), s, seen.source) for s in seen.spikes]
    expected = torch.stack([value(loss, step, of) for step in steps]).sum()
    torch.testing.assert_close(value(loss, seen, of), expected)


@pytest.mark.parametrize("estimator", ["approximate", "biased"])
def test_zz_with_beta_2_is_a_distance_between_the_centred_kernels(estimator: Any) -> None:
    seen, of = activity(8, 5), batch()
    loss = HSICLoss(Cosine(), "zz", 2.0, estimator, features="flat")
    y, z = Cosine(True)(torch.eye(4, dtype=torch.float64)[of.labels]), Cosine()(seen.rate)
    distance = hsic(z, z, estimator) - 2 * hsic(z, y, estimator) + hsic(y, y, estimator)
    torch.testing.assert_close(value(loss, seen, of), distance - hsic(y, y, estimator))
    assert distance > 0


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("estimator", ["approximate", "biased", "unbiased"])
def test_slope_is_the_gradient_with_respect_to_the_kernel_matrix(objective: Any, estimator: Any) -> None:
    loss = HSICLoss(Gaussian(), objective, estimator=estimator)
    target = loss.prepare(batch())
    K = Gaussian()(activity(8, 5).rate).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(K, target), K)
    torch.testing.assert_close(loss.slope(K.detach(), target), gradient)


def test_as_printed_different_classes_attract() -> None:
    """Method.md, section 5, point 17: at B = 64, β = 2, σ = 5 the coefficient of different classes is negative."""
    of = Batch(5 * torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 10, 10)
    different = of.labels[:, None] != of.labels[None, :]
    printed = HSICLoss(Gaussian(5.0, "fixed"), "xz", label_kernel="same", features="flat")
    repaired = HSICLoss(Gaussian(), "zz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = printed.prepare(of)
        attraction = printed.slope(torch.zeros(64, 64), target)[different]
    assert (attraction < 0).all()
    equal = torch.ones(64, 64)
    assert (repaired.slope(equal, repaired.prepare(of))[different] > 0).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_pictures_are_told_equals_a_computation_of_its_own(objective: Any) -> None:
    """Kernel matrices, both coordinates of the information plane, and the mean of dL/dk over pairs."""
    of, rate = batch(), torch.rand(8, 5, generator=torch.Generator().manual_seed(3)).double()
    loss = HSICLoss(Gaussian(0.7, "fixed"), objective, beta=3.0, label_kernel="same", features="flat")
    seen = loss.similarity_of(rate, of)
    x, z = (gaussian(values.flatten(1).numpy(), 0.7) for values in (of.images, rate))
    y = gaussian(np.eye(4)[of.labels.numpy()], 0.7)
    np.testing.assert_allclose(seen.features.numpy(), z, rtol=1e-9)
    np.testing.assert_allclose(seen.labels.numpy(), y, rtol=1e-9)
    centred = {name: (k - k.mean()) / 64 for name, k in (("x", x), ("y", y), ("z", z))}
    slope = (centred["x"] if objective == "xz" else 2 * centred["z"]) - 3 * centred["y"]
    labels = of.labels.tolist()
    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    assert seen.numbers == pytest.approx(
        {
            "hsic_xz": approximate(x, z),
            "hsic_zy": approximate(z, y),
            "slope_same_class": np.mean([slope[i, j] for i, j in pairs if labels[i] == labels[j]]),
            "slope_different_class": np.mean([slope[i, j] for i, j in pairs if labels[i] != labels[j]]),
        },
        rel=1e-9,
    )


def test_what_pictures_are_told_is_finite_and_keeps_the_warnings_for_training() -> None:
    of = batch(4)  # one image of each class: no pair of one class
    loss = HSICLoss(Gaussian(1e-4, "fixed"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = loss.similarity_of(torch.zeros(4, 64), of)
    assert seen.numbers["slope_same_class"] == 0
    assert all(np.isfinite(number) for number in seen.numbers.values())
    with pytest.warns(UserWarning, match="of the features is"):
        value(loss, activity(4, 64), of)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("features", ["flat", "pool", "group", "deviation"])
def test_gradients_are_finite_on_awkward_batches(objective: Any, kernel: Kernel, features: Any) -> None:
    images, rates = batch(dtype=torch.float32), torch.rand(8, 6, 4, 4)
    duplicates = rates[[0, 0, 1, 1, 2, 2, 3, 3]]
    one_class = Batch(images.images, torch.zeros(8, dtype=torch.long), 4)
    one_sample = Batch(images.images[:1], images.labels[:1], 4)
    same_images = Batch(images.images[[0] * 8], images.labels, 4)
    cases = [
        (torch.zeros(8, 6, 4, 4), images),
        (torch.ones(8, 6, 4, 4), images),
        (duplicates, images),
        (rates, one_class),
        (rates[:1], one_sample),
        (rates, same_images),
    ]
    for rate, of in cases:
        rate = rate.clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = HSICLoss(kernel, objective, features=features)
            result = value(loss, Activity(rate.unsqueeze(0), rate, rate), of)
        (gradient,) = torch.autograd.grad(result, rate)
        assert result.isfinite()
        assert gradient.isfinite().all()


def test_a_single_sample_or_a_silent_layer_teaches_nothing() -> None:
    for rate, of in ((torch.rand(1, 64), batch(1)), (torch.zeros(8, 64), batch())):
        rate.requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = value(HSICLoss(Gaussian()), Activity(rate.unsqueeze(0), rate, rate), of)
        (gradient,) = torch.autograd.grad(result, rate)
        assert (gradient == 0).all()


def test_advice_names_what_is_left_to_try() -> None:
    for kernel, advice in ((Gaussian(1e6, "fixed"), "try kernel.bandwidth=median"), (Gaussian(), "layer fires at all")):
        loss, of, silent = HSICLoss(kernel, features="flat"), batch(), torch.zeros(8, 64)
        with pytest.warns(UserWarning, match=f"of the features is constant.*{advice}"):
            loss(Activity(silent.unsqueeze(0), silent, silent), loss.prepare(of))


def test_an_underflowing_kernel_is_warned_about_by_name_and_only_once() -> None:
    loss, of = HSICLoss(Gaussian(1e-4, "fixed"), features="flat"), batch()
    target = loss.prepare(of)
    with pytest.warns(
        UserWarning, match=r"hsic.*Gaussian\(sigma=0\.0001, bandwidth='fixed'\) of the features.*identity"
    ):
        result = loss(activity(8, 5), target)
    assert result.isfinite()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(activity(8, 5), target)


def test_as_printed_the_kernel_of_the_input_is_warned_about() -> None:
    of = Batch(torch.randn(8, 1, 28, 28), torch.arange(8) % 4, 4)
    with pytest.warns(UserWarning, match=r"of the input is the identity.*784 values"):
        HSICLoss(Gaussian(0.5, "fixed"), "xz").prepare(of)


def test_a_batch_of_one_class_is_warned_about() -> None:
    of = batch()
    with pytest.warns(UserWarning, match="of the labels is constant"):
        HSICLoss(Gaussian()).prepare(Batch(of.images, torch.zeros_like(of.labels), 4))


def test_repaired_defaults_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value(HSICLoss(Gaussian()), activity(8, 64), batch())


def test_settings_of_the_wrong_name_or_range_are_refused() -> None:
    node = {"_target_": "snnhll.losses.hsic.HSICLoss"}
    with pytest.raises(UserError, match=r"objective: 'zy' is not an option"):
        build(node | {"objective": "zy"}, "loss.terms.hsic", kernel=Gaussian())
    with pytest.raises(UserError, match=r"beta: -2\.0 is out of range"):
        build(node | {"beta": -2}, "loss.terms.hsic", kernel=Gaussian())
    with pytest.raises(UserError, match=r"features: 'gruop'.*'group'"):
        build(node | {"features": "gruop"}, "loss.terms.hsic", kernel=Gaussian())
