"""Kernels: equations (4-12)-(4-16) pair by pair in numpy, their mathematical properties, gradients everywhere."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snnhll.build import build
from snnhll.errors import UserError
from snnhll.kernels.cosine import Cosine
from snnhll.kernels.gaussian import Gaussian
from snnhll.kernels.kernel import Kernel
from snnhll.kernels.laplacian import Laplacian
from snnhll.kernels.linear import Linear
from snnhll.kernels.sigmoid import Sigmoid

KERNELS: list[Kernel] = [
    Linear(),
    Cosine(),
    Cosine(centred=True),
    Gaussian(),
    Gaussian(5.0, "fixed"),
    Gaussian(0.5, "dimension"),
    Laplacian(),
    Laplacian(5.0, "fixed"),
    Laplacian(0.5, "dimension"),
    Laplacian(norm="l1"),
    Laplacian(0.5, "dimension", "l1"),
    Sigmoid(),
    Sigmoid(0.3, -0.5),
]
POSITIVE_DEFINITE = [k for k in KERNELS if not isinstance(k, Sigmoid)]
UNIT_DIAGONAL = [k for k in KERNELS if isinstance(k, (Gaussian, Laplacian, Cosine))]

seeds = st.integers(0, 2**31)


def rates(samples: int = 7, features: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Firing rates as they occur: multiples of 1/10."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 11, (samples, features), generator=generator).to(dtype) / 10


def awkward(dtype: torch.dtype = torch.float64) -> Tensor:
    """Rates with two silent samples, a pair of duplicates and a sample with all rates equal."""
    x = rates(dtype=dtype)
    x[1] = x[2] = 0
    x[3] = x[4]
    x[5] = 0.3
    return x


def typical(x: np.ndarray, order: int) -> float:
    return float(np.median([np.linalg.norm(a - b, order) for a, b in combinations(x, 2)]))


def by_hand(kernel: Kernel, x: np.ndarray) -> np.ndarray:
    """The kernel matrix, one pair at a time, from the printed equations."""
    dimension = x.shape[1]

    def pair(a: np.ndarray, b: np.ndarray) -> float:
        match kernel:
            case Linear():
                return float(a @ b)
            case Cosine(centred=centred):
                a, b = (a - a.mean(), b - b.mean()) if centred else (a, b)
                return float(a @ b / np.sqrt((a @ a) * (b @ b)))
            case Gaussian(sigma=s, bandwidth=unit):
                width = s * {"fixed": 1, "dimension": math.sqrt(dimension), "median": typical(x, 2)}[unit]
                return float(np.exp(-((a - b) ** 2).sum() / (2 * width**2)))
            case Laplacian(sigma=s, bandwidth=unit, norm=norm):
                order = 1 if norm == "l1" else 2
                width = s * {"fixed": 1, "dimension": dimension ** (1 / order), "median": typical(x, order)}[unit]
                return float(np.exp(-np.linalg.norm(a - b, order) / width))
            case Sigmoid(a=slope, c=c):
                return float(np.tanh((a @ b) * (1 / dimension if slope is None else slope) + c))
        raise AssertionError(kernel)

    return np.array([[pair(a, b) for b in x] for a in x])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_equals_the_printed_equation_pair_by_pair(kernel: Kernel) -> None:
    x = rates()
    np.testing.assert_allclose(kernel(x).numpy(), by_hand(kernel, x.numpy()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_float32_agrees_with_float64(kernel: Kernel) -> None:
    x = rates(64, 1024)
    torch.testing.assert_close(kernel(x.float()).double(), kernel(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@given(seed=seeds)
def test_symmetric(kernel: Kernel, seed: int) -> None:
    K = kernel(rates(seed=seed))
    torch.testing.assert_close(K, K.mT)


@pytest.mark.parametrize("kernel", POSITIVE_DEFINITE, ids=str)
@given(seed=seeds)
def test_positive_semidefinite(kernel: Kernel, seed: int) -> None:
    K = kernel(rates(seed=seed))
    assert torch.linalg.eigvalsh(K).min() > -1e-9 * K.abs().max()


def test_the_sigmoid_kernel_is_not_positive_semidefinite() -> None:
    K = Sigmoid(a=1.0, c=-1.0)(rates())
    assert torch.linalg.eigvalsh(K).min() < -1e-3


@pytest.mark.parametrize("kernel", UNIT_DIAGONAL, ids=str)
@given(seed=seeds)
def test_unit_diagonal(kernel: Kernel, seed: int) -> None:
    K = kernel(rates(seed=seed))
    torch.testing.assert_close(K.diagonal(), torch.ones(7, dtype=K.dtype))


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@given(seed=seeds)
def test_reordering_the_samples_reorders_the_matrix(kernel: Kernel, seed: int) -> None:
    x, order = rates(seed=seed), torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(kernel(x[order]), kernel(x)[order][:, order])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_leading_dimensions_are_batches_of_their_own(kernel: Kernel) -> None:
    x = torch.stack([rates(seed=s) for s in range(3)])
    torch.testing.assert_close(kernel(x), torch.stack([kernel(part) for part in x]))


@pytest.mark.parametrize(
    "kernel", [Gaussian(2.0, "fixed"), Gaussian(0.5, "dimension"), Linear(), Sigmoid(), Cosine(True)], ids=str
)
def test_gradient_equals_finite_differences(kernel: Kernel) -> None:
    x = rates(5, 6).requires_grad_()
    assert torch.autograd.gradcheck(kernel, (x,))


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_laplacian_gradient_equals_finite_differences_away_from_its_kinks(norm: str) -> None:
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(Laplacian(2.0, "fixed", norm), (x,))  # type: ignore[arg-type]


def test_the_median_width_carries_no_gradient() -> None:
    x = rates(6, 6).requires_grad_()
    (with_median,) = torch.autograd.grad(Gaussian(1.0, "median")(x).sum(), x)
    (with_number,) = torch.autograd.grad(Gaussian(typical(x.detach().numpy(), 2), "fixed")(x).sum(), x)
    torch.testing.assert_close(with_median, with_number)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize(
    "x",
    [awkward(), torch.zeros(4, 6), rates(1), torch.ones(3, 5) * 0.3, rates(4, 1)],
    ids=["awkward", "silent", "one", "equal", "one feature"],
)
def test_values_and_gradients_are_finite_for_silent_duplicate_and_single_samples(
    kernel: Kernel, x: Tensor, dtype: torch.dtype
) -> None:
    x = x.to(dtype).requires_grad_()
    K = kernel(x)
    (gradient,) = torch.autograd.grad((K * torch.arange(K.numel()).view_as(K)).sum(), x)
    assert K.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e4


@pytest.mark.parametrize("kernel", [Gaussian(), Laplacian(), Laplacian(norm="l1")], ids=str)
def test_duplicates_are_exactly_alike_in_float32(kernel: Kernel) -> None:
    x = rates(64, 1024, dtype=torch.float32)
    x[3] = x[4]
    torch.testing.assert_close(kernel(x)[3, 4], torch.tensor(1.0), rtol=0, atol=1e-5)


def test_duplicates_do_not_push_each_other() -> None:
    x = rates(3)
    x[0] = x[1]
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(Laplacian(5.0, "fixed")(x)[0, 1], x)
    assert (gradient == 0).all()


def test_a_silent_sample_is_orthogonal_to_all_for_cosine() -> None:
    K = Cosine()(awkward())
    assert (K[1] == 0).all()
    assert K[0, 0] == pytest.approx(1)


def test_cosine_ignores_the_scale_of_a_sample() -> None:
    x = rates()
    torch.testing.assert_close(Cosine()(x * torch.arange(1, 8, dtype=x.dtype)[:, None]), Cosine()(x))


def test_centred_cosine_of_labels_separates_classes() -> None:
    K = Cosine(centred=True)(torch.eye(10))
    torch.testing.assert_close(K, torch.eye(10) * (1 + 1 / 9) - 1 / 9)


def test_a_dimension_scaled_width_makes_the_kernel_independent_of_repeated_features() -> None:
    x = rates()
    for kernel in (Gaussian(0.5, "dimension"), Laplacian(0.5, "dimension"), Laplacian(0.5, "dimension", "l1")):
        torch.testing.assert_close(kernel(x.repeat(1, 9)), kernel(x))


def test_a_median_width_makes_the_kernel_independent_of_scale() -> None:
    x = rates()
    for kernel in (Gaussian(), Laplacian(), Laplacian(norm="l1")):
        torch.testing.assert_close(kernel(37 * x), kernel(x))


def test_a_median_of_zero_falls_back_to_the_mean_distance() -> None:
    x = torch.zeros(5, 2, dtype=torch.float64)
    x[0, 0] = 3.0  # four of ten pairs are 3 apart, the others are duplicates: mean 1.2
    assert Gaussian()(x)[0, 1].item() == pytest.approx(math.exp(-9 / (2 * 1.2**2)))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"kernel\.sigma: -1.0 is out of range"):
        build({"_target_": "snnhll.kernels.gaussian.Gaussian", "sigma": -1}, "kernel")
    with pytest.raises(UserError, match=r"kernel\.bandwidth: 'medain'.*median"):
        build({"_target_": "snnhll.kernels.gaussian.Gaussian", "bandwidth": "medain"}, "kernel")
