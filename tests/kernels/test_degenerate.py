"""Kernel matrices that say nothing are recognised, and only those."""

from __future__ import annotations

import torch

from snnhll.kernels.cosine import Cosine
from snnhll.kernels.degenerate import degenerate
from snnhll.kernels.gaussian import Gaussian
from snnhll.kernels.linear import Linear

X = torch.rand(8, 784, generator=torch.Generator().manual_seed(0))


def test_a_width_far_too_small_makes_the_identity() -> None:
    assert degenerate(Gaussian(0.01, "fixed")(X)) == "identity"


def test_a_width_far_too_large_makes_a_constant() -> None:
    assert degenerate(Gaussian(1e6, "fixed")(X)) == "constant"


def test_silent_layers_and_batches_of_one_class_are_constant() -> None:
    assert degenerate(Linear()(torch.zeros(8, 5))) == "constant"
    assert degenerate(Cosine(centred=True)(torch.eye(10)[[3] * 8])) == "constant"


def test_a_median_width_is_neither() -> None:
    assert degenerate(Gaussian()(X)) is None


def test_printed_label_kernel_is_narrow_but_not_constant() -> None:
    """σ = 5 on one-hot labels leaves 0.961 against 1."""
    K = Gaussian(5.0, "fixed")(torch.eye(10))
    assert degenerate(K) is None
    torch.testing.assert_close(K[0, 1], torch.tensor(0.9608), rtol=0, atol=1e-4)


def test_a_single_sample_cannot_be_judged() -> None:
    assert degenerate(Gaussian()(X[:1])) is None
