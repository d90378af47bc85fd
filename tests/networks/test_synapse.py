"""Synapses: the sums they compute, their weight gradient, and weight standardisation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snnhll.networks.spec import Layer
from snnhll.networks.synapse import Synapse

LINEAR = Layer("linear", (10,), 6)
CONVOLUTIONS = [Layer("conv", (3, 7, 6), 5, 3), Layer("conv", (1, 7, 6), 4, 5, 2), Layer("conv", (2, 4, 4), 3, 1)]
LAYERS = pytest.mark.parametrize("layer", [LINEAR, *CONVOLUTIONS], ids=["linear", "3x3", "5x5s2", "1x1"])


def synapse(layer: Layer, bias: bool = True, standardise: bool = False) -> Synapse:
    torch.manual_seed(0)
    built = Synapse(layer, bias, standardise).double()
    if built.bias is not None:
        torch.nn.init.normal_(built.bias)
    return built


def activity(layer: Layer, *lead: int) -> Tensor:
    return torch.randn(*lead, *layer.in_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_hand(x: Tensor, layer: Layer, weight: Tensor, bias: Tensor) -> Tensor:
    """Σ over inputs, and over the window of a convolution, for one sample [...]."""
    if layer.kind == "linear":
        return torch.stack([(weight[o] * x.flatten()).sum() + bias[o] for o in range(layer.units)])
    out = torch.empty(layer.out_shape, dtype=x.dtype)
    reach = layer.kernel // 2
    for o in range(layer.units):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total = bias[o].clone()
                for a in range(-reach, reach + 1):
                    for b in range(-reach, reach + 1):
                        row, column = i * layer.stride + a, j * layer.stride + b
                        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                            total += (weight[o, :, a + reach, b + reach] * x[:, row, column]).sum()
                out[o, i, j] = total
    return out


@LAYERS
def test_current_is_the_weighted_sum(layer: Layer) -> None:
    s, x = synapse(layer), activity(layer, 2, 2)
    assert s.bias is not None
    z = s(x)
    assert z.shape == (2, 2, *layer.out_shape)
    with torch.no_grad():
        torch.testing.assert_close(z[1, 0], by_hand(x[1, 0], layer, s.weight, s.bias))
        torch.testing.assert_close(z[0, 1], by_hand(x[0, 1], layer, s.weight, s.bias))


@LAYERS
def test_weight_gradient_is_that_of_autograd(layer: Layer) -> None:
    s, x = synapse(layer, bias=False), activity(layer, 4)
    z = s(x.unsqueeze(0))[0]
    arriving = torch.randn(z.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (expected,) = torch.autograd.grad(z, [s.weight], arriving)
    torch.testing.assert_close(s.weight_gradient(x, arriving), expected)


@LAYERS
def test_initial_weights_have_variance_two_over_fan_in(layer: Layer) -> None:
    wide = Layer(layer.kind, layer.in_shape, 4000, layer.kernel)
    weight = synapse(wide).weight
    fan_in = weight[0].numel()
    spread = 6 * (2 / weight.numel()) ** 0.5  # six standard errors of a normal sample's variance
    assert weight.var().item() * fan_in / 2 == pytest.approx(1, abs=spread)


@LAYERS
def test_standardised_weights_have_zero_mean_and_variance_gain_squared_over_fan_in(layer: Layer) -> None:
    s = synapse(layer, standardise=True)
    assert s.gain is not None
    gains = torch.arange(1.0, layer.units + 1, dtype=torch.float64)
    with torch.no_grad():
        s.weight.add_(0.7)
        s.gain.copy_(gains)
    rows = s.effective_weight().flatten(1)
    if rows.shape[1] == 1:
        pytest.skip("one synapse has no variance")
    torch.testing.assert_close(rows.mean(1), torch.zeros_like(gains), atol=1e-12, rtol=0)
    torch.testing.assert_close(rows.var(1, unbiased=False) * rows.shape[1], gains**2, rtol=1e-6, atol=0)


def test_standardisation_ignores_offset_and_scale_of_the_stored_weights() -> None:
    s = synapse(LINEAR, standardise=True)
    before = s.effective_weight()
    with torch.no_grad():
        s.weight.mul_(3.0).add_(-2.0)
    torch.testing.assert_close(s.effective_weight(), before, rtol=1e-7, atol=1e-9)


def test_standardised_weights_are_differentiable() -> None:
    s = synapse(LINEAR, standardise=True)
    assert s.gain is not None

    def effective(weight: Tensor, gain: Tensor) -> Tensor:
        stored = {"weight": weight, "gain": gain}
        return torch.func.functional_call(s, stored | {"bias": s.bias}, (torch.eye(10, dtype=torch.float64)[None],))

    assert torch.autograd.gradcheck(effective, (s.weight, s.gain))


@pytest.mark.parametrize("standardise", [False, True])
def test_parameters(standardise: bool) -> None:
    assert {n for n, _ in synapse(LINEAR, True, standardise).named_parameters()} == {
        "weight",
        "bias",
        *(["gain"] if standardise else []),
    }
    assert synapse(LINEAR, False).bias is None


def test_computes_in_the_precision_of_its_input() -> None:
    s = Synapse(CONVOLUTIONS[0], bias=True)
    assert s(activity(CONVOLUTIONS[0], 1, 2).bfloat16()).dtype == torch.bfloat16
    assert s.weight.dtype == torch.float32
