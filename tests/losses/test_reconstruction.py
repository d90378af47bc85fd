"""Reconstruction (3-10, 3-11) against a reference in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.losses.loss import Activity
from snnhll.losses.reconstruction import ReconstructionLoss
from snnhll.networks.spec import Layer

B = 3
LINEAR = Layer("linear", (8,), 5)
CONV = Layer("conv", (2, 4, 5), 3, 3)
LAYERS = {
    "linear": LINEAR,
    "conv": CONV,
    "stride": Layer("conv", (2, 5, 4), 3, 3, 2),
    "5x5s3": Layer("conv", (1, 6, 7), 2, 5, 3),
}


def decoded(rate: np.ndarray, layer: Layer, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """G(r) for one sample. A convolution is decoded by laying its kernel, times each rate, over the input."""
    if layer.kind == "linear":
        return weight @ rate + bias
    reach = layer.kernel // 2
    out = np.zeros((layer.in_shape[0], layer.in_shape[1] + 2 * reach, layer.in_shape[2] + 2 * reach))
    for c, i, j in np.ndindex(rate.shape):
        row, column = i * layer.stride, j * layer.stride
        out[:, row : row + layer.kernel, column : column + layer.kernel] += rate[c, i, j] * weight[c]
    return out[:, reach:-reach, reach:-reach] + bias[:, None, None]


def reference(rate: np.ndarray, source: np.ndarray, layer: Layer, weight: np.ndarray, bias: np.ndarray) -> float:
    rebuilt = np.stack([decoded(r, layer, weight, bias) for r in rate])
    return float(((rebuilt - source) ** 2).mean())


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_value_and_gradients(
    see: Callable[..., Activity],
    slope: Callable[..., np.ndarray],
    values: Callable[[Tensor], np.ndarray],
    layer: Layer,
) -> None:
    torch.manual_seed(0)
    loss, activity = ReconstructionLoss(layer).double(), see(1, B, *layer.out_shape, source=layer.in_shape)
    weight, bias = (values(p) for p in loss.parameters())
    rate, source = values(activity.rate), values(activity.source)
    value = loss(activity, None)
    assert value.item() == pytest.approx(reference(rate, source, layer, weight, bias), rel=1e-12)
    for found, expected in zip(
        torch.autograd.grad(value, [activity.rate, *loss.parameters()]),
        [
            slope(lambda r: reference(r, source, layer, weight, bias), rate),
            slope(lambda w: reference(rate, source, layer, w, bias), weight),
            slope(lambda b: reference(rate, source, layer, weight, b), bias),
        ],
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_full_layer_above_maps_rebuilds_the_maps(see: Callable[..., Activity]) -> None:
    torch.manual_seed(0)
    loss = ReconstructionLoss(LINEAR).double()
    maps = see(1, B, 5, source=(2, 2, 2))
    flat = Activity(maps.spikes, maps.rate, maps.source.flatten(1))
    assert loss(maps, None).item() == loss(flat, None).item()


def test_is_due_once_a_sample_on_rates(see: Callable[..., Activity]) -> None:
    torch.manual_seed(0)
    loss, activity = ReconstructionLoss(LINEAR).double(), see(4, B, 5, source=(8,))
    on_rates = Activity(activity.rate.unsqueeze(0), activity.rate, activity.source)
    assert ReconstructionLoss.once
    assert loss(activity, None).item() == loss(on_rates, None).item()


def test_silent_layer_leaves_the_bias(see: Callable[..., Activity]) -> None:
    loss = ReconstructionLoss(CONV).double()
    silent = torch.zeros(B, *CONV.out_shape, dtype=torch.float64, requires_grad=True)
    source = torch.rand(B, *CONV.in_shape, dtype=torch.float64)
    value = loss(Activity(silent[None], silent, source), None)
    bias = loss.decoder.bias
    assert isinstance(bias, Tensor)
    torch.testing.assert_close(value, (source - bias.view(-1, 1, 1)).square().mean())
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, [silent, *loss.parameters()]))


def test_nothing_reaches_the_layer_below(see: Callable[..., Activity]) -> None:
    """The rule hands over a detached source; the loss itself takes no gradient of it either way it is called."""
    loss, activity = ReconstructionLoss(LINEAR).double(), see(1, B, 5, source=(8,))
    assert not activity.source.requires_grad
    loss(activity, None).backward()
    assert activity.source.grad is None
