"""The rate gradient: against an independent computation, and compiled against autograd."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from snnhll.networks.block import Block
from snnhll.networks.rates import Signal, _by_autograd, _compiled, rate_forward, rate_inference, rate_of
from snnhll.networks.spec import Layer
from snnhll.neurons.lif import LIF
from snnhll.surrogates.exponential import Exponential

STEPS, BATCH, DECAY, V_TH = 6, 5, 0.7, 0.6
LAYERS = {
    "linear": Layer("linear", (11,), 7),
    "conv": Layer("conv", (3, 6, 6), 4, 3, pool=2),
    "strided": Layer("conv", (2, 7, 7), 4, 5, 2),
}
EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
EVERY_NORM = pytest.mark.parametrize("norm", ["none", "batch", "weight"])
EVERY_LENGTH = pytest.mark.parametrize("length", [1, STEPS])
RESETS = pytest.mark.parametrize("reset", ["soft", "hard"])


def block(layer: Layer, norm: Any, dtype: torch.dtype, dropout: float = 0.0, reset: Any = "soft") -> Block:
    torch.manual_seed(0)
    built = Block(layer, LIF(Exponential(), DECAY, V_TH, reset), norm, dropout).to(dtype)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name != "synapse.weight":
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return built


def signal(layer: Layer, length: int, dtype: torch.dtype) -> Signal:
    """Spikes of different rates; an analog input where it is constant over time."""
    draw = torch.Generator().manual_seed(2)
    analog = torch.randn(1, BATCH, *layer.in_shape, generator=draw)
    spikes = (torch.rand(length, BATCH, *layer.in_shape, generator=draw) < torch.sigmoid(analog)).to(dtype)
    x = (analog if length == 1 else spikes).to(dtype)
    if layer.kind == "conv":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
    return Signal(x)


def arriving(layer: Layer, dtype: torch.dtype) -> Tensor:
    return torch.randn(BATCH, *layer.out_shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def gradients(rate: Tensor, b: Block, upstream: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*b.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(rate, parameters, upstream), strict=True))


def patches(x: np.ndarray, layer: Layer) -> np.ndarray:
    """What each output neuron's weights meet: [S, B, positions, fan_in] for x [S, B, ...]; one position if linear."""
    if layer.kind == "linear":
        return x.reshape(*x.shape[:2], 1, -1)
    k, reach = layer.kernel, layer.kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (reach, reach), (reach, reach)))
    rows, columns = layer.out_shape[1:]
    windows = [
        padded[..., i * layer.stride : i * layer.stride + k, j * layer.stride : j * layer.stride + k]
        for i in range(rows)
        for j in range(columns)
    ]
    return np.stack([w.reshape(*x.shape[:2], -1) for w in windows], axis=2)


def independent(b: Block, sig: Signal, upstream: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Rate, gradients and spikes of a layer in numpy, float64, from the equations.

    L = Σ D r. The surrogate takes the place of ds/du and membranes carry no gradient: dL/dy[t] = D σ'(u[t] - v_th)/T;
    batch normalisation is differentiated over batch, positions and all T; of the input the weights see the rate.
    """
    layer, p = b.layer, {n: v.detach().numpy() for n, v in b.named_parameters()}
    stored = p["synapse.weight"].reshape(layer.units, -1)
    centred = stored - stored.mean(1, keepdims=True)
    norms = np.sqrt((centred**2).sum(1, keepdims=True) + 1e-8)
    gain = p.get("synapse.gain")
    weight = stored if gain is None else gain[:, None] * centred / norms

    sent = np.broadcast_to(sig.spikes.numpy(), (STEPS, *sig.spikes.shape[1:]))
    z = patches(sent, layer) @ weight.T  # [T, B, positions, units]
    if "synapse.bias" in p:
        z = z + p["synapse.bias"]
    y = z
    if b.norm is not None:
        mean, deviation = z.mean((0, 1, 2)), np.sqrt(z.var((0, 1, 2)) + 1e-5)
        unit = (z - mean) / deviation
        y = p["norm.gamma"] * unit + p["norm.beta"]

    D = upstream.numpy().reshape(BATCH, layer.units, -1).swapaxes(1, 2)  # [B, positions, units]
    u, spikes, dy = np.zeros_like(y[0]), [], np.empty_like(y)
    for t in range(STEPS):
        u = DECAY * u + y[t]
        s = (u >= V_TH).astype(float)
        dy[t] = D * np.exp(-np.abs(u - V_TH)) / STEPS
        u = u - V_TH * s if b.neuron.compiled.reset == "soft" else u * (1 - s)  # type: ignore[union-attr]
        spikes.append(s)

    found, dz = {}, dy
    if b.norm is not None:
        found["norm.beta"] = dy.sum((0, 1, 2))
        found["norm.gamma"] = (dy * unit).sum((0, 1, 2))
        through = dy - dy.mean((0, 1, 2)) - unit * (dy * unit).mean((0, 1, 2))
        dz = p["norm.gamma"] / deviation * through
    else:
        found["synapse.bias"] = dy.sum((0, 1, 2))
    seen = patches(sent.mean(0, keepdims=True), layer)[0]
    dw = np.einsum("bnu,bnf->uf", dz.sum(0), seen)
    if gain is not None:
        found["synapse.gain"] = (dw * centred / norms).sum(1)
        d_unit = gain[:, None] * dw
        d_centred = d_unit / norms - centred * (centred * d_unit).sum(1, keepdims=True) / norms**3
        dw = d_centred - d_centred.mean(1, keepdims=True)
    found["synapse.weight"] = dw.reshape(p["synapse.weight"].shape)
    out = np.stack(spikes).swapaxes(2, 3).reshape(STEPS, BATCH, *layer.out_shape)
    return out.mean(0), found, out


@EVERY_LAYER
@EVERY_NORM
@EVERY_LENGTH
@RESETS
@pytest.mark.parametrize("path", [_compiled, _by_autograd])
def test_equals_an_independent_computation(layer: Layer, norm: Any, length: int, reset: Any, path: Any) -> None:
    b, sig, upstream = (
        block(layer, norm, torch.float64, reset=reset),
        signal(layer, length, torch.float64),
        arriving(layer, torch.float64),
    )
    expected_rate, expected, spikes = independent(b, sig, upstream)
    assert 0.05 < expected_rate.mean() < 0.95
    rate, outgoing = path(b, sig, STEPS)
    np.testing.assert_allclose(rate.detach(), expected_rate, rtol=1e-12)
    found = gradients(rate, b, upstream)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(outgoing.spikes, pooled(spikes, layer.pool))
    np.testing.assert_allclose(outgoing.rate, outgoing.spikes.mean(0), rtol=1e-12)
    assert not outgoing.spikes.requires_grad
    assert not outgoing.rate.requires_grad


def pooled(spikes: np.ndarray, pool: int) -> np.ndarray:
    if pool == 1:
        return spikes
    rows, columns = (side // pool for side in spikes.shape[3:])
    cut = spikes[..., : rows * pool, : columns * pool]
    return cut.reshape(*spikes.shape[:3], rows, pool, columns, pool).max((4, 6))


@EVERY_LAYER
@EVERY_NORM
@EVERY_LENGTH
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
def test_compiled_equals_autograd(
    layer: Layer, norm: Any, length: int, dropout: float, dtype: torch.dtype, tolerance: float
) -> None:
    one, sig, upstream = block(layer, norm, dtype, dropout), signal(layer, length, dtype), arriving(layer, dtype)
    other = copy.deepcopy(one)
    torch.manual_seed(9)
    rate, outgoing = _compiled(one, sig, STEPS)
    torch.manual_seed(9)
    expected_rate, expected_outgoing = _by_autograd(other, sig, STEPS)
    torch.testing.assert_close(rate, expected_rate)
    torch.testing.assert_close(outgoing.spikes, expected_outgoing.spikes)
    torch.testing.assert_close(outgoing.rate, expected_outgoing.rate)
    expected = gradients(expected_rate, other, upstream)
    for name, gradient in gradients(rate, one, upstream).items():
        scale = expected[name].abs().max().item()
        assert scale > 1e-6
        torch.testing.assert_close(gradient, expected[name], rtol=tolerance, atol=tolerance * scale, msg=name)
    torch.testing.assert_close(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("layer", [LAYERS["linear"], LAYERS["conv"]], ids=["linear", "conv"])
def test_learnable_decay_gets_a_gradient(layer: Layer) -> None:
    """Through autograd; u[t] = λ v[t-1] + y[t], so ds[t]/dλ = σ'[t] v[t-1], times λ(1 - λ) for the logit."""
    torch.manual_seed(0)
    b = Block(layer, LIF(Exponential(), DECAY, V_TH, learnable_decay=True), "none", 0.0).double()
    sig, upstream = signal(layer, STEPS, torch.float64), arriving(layer, torch.float64)
    rate, _ = rate_forward(b, sig, STEPS)
    found = gradients(rate, b, upstream)
    assert isinstance(b.neuron, LIF)
    decay = float(torch.sigmoid(b.neuron.decay_logit.detach()))  # type: ignore[union-attr]
    current = b.current(sig.spikes).detach()
    v, slope = torch.zeros_like(current[0]), 0.0
    for t in range(STEPS):
        u = decay * v + current[t]
        slope += float((upstream * torch.exp(-(u - V_TH).abs()) * v).sum()) / STEPS
        v = u - V_TH * (u >= V_TH).double()
    assert found["neuron.decay_logit"].item() == pytest.approx(slope * decay * (1 - decay), rel=1e-9)


@EVERY_LAYER
@EVERY_NORM
@pytest.mark.parametrize("learnable", [False, True])
def test_inference_keeps_the_training_spikes_without_a_graph(layer: Layer, norm: Any, learnable: bool) -> None:
    """In evaluation mode both use the running statistics."""
    torch.manual_seed(0)
    b = Block(layer, LIF(Exponential(), DECAY, V_TH, learnable_decay=learnable), norm, 0.5).double().eval()
    sig = signal(layer, STEPS, torch.float64)
    before = copy.deepcopy(b.state_dict())
    rate, outgoing = rate_inference(b, sig, STEPS)
    expected_rate, expected = rate_forward(b, sig, STEPS)
    torch.testing.assert_close(rate, expected_rate.detach())
    assert torch.equal(outgoing.spikes, expected.spikes)
    assert not rate.requires_grad
    torch.testing.assert_close(b.state_dict(), before, rtol=0, atol=0)


def test_rate_of_a_signal_is_the_mean_over_time_in_full_precision() -> None:
    spikes = torch.tensor([[1.0], [0.0], [0.0]])
    assert Signal(spikes.double()).rate.item() == 1 / 3
    assert Signal(spikes.bfloat16()).rate.dtype == torch.float32
    assert Signal(spikes[:1]).rate.item() == 1


@EVERY_LAYER
def test_bfloat16_signals_stay_bfloat16_and_gradients_float32(layer: Layer) -> None:
    for learnable in (False, True):
        torch.manual_seed(0)
        b = Block(layer, LIF(Exponential(), DECAY, V_TH, learnable_decay=learnable), "batch", 0.2)
        sig = signal(layer, STEPS, torch.bfloat16)
        rate, outgoing = rate_forward(b, sig, STEPS)
        assert rate.dtype == torch.float32
        assert outgoing.spikes.dtype == torch.bfloat16
        found = gradients(rate, b, arriving(layer, torch.float32))
        assert {g.dtype for g in found.values()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_rate_of_spikes_is_exact_and_its_gradient_the_same_at_every_step(dtype: torch.dtype) -> None:
    """300 steps: a sum in bfloat16 would stop at 256."""
    spikes = (torch.rand(300, 2, 5, generator=torch.Generator().manual_seed(3)) < 0.99).to(dtype).requires_grad_()
    rate = rate_of(spikes)
    assert torch.equal(rate.double(), (spikes.double().sum(0) / 300).to(rate.dtype).double())
    weight = torch.arange(10.0, dtype=rate.dtype).view(2, 5)
    (rate * weight).sum().backward()
    assert spikes.grad is not None
    assert torch.equal(spikes.grad, (weight / 300).to(dtype).expand(300, 2, 5))


@EVERY_NORM
def test_spikes_in_bfloat16_of_a_block_are_those_of_the_same_sums(norm: Any) -> None:
    b = block(LAYERS["conv"], norm, torch.float32)
    x = signal(LAYERS["conv"], STEPS, torch.bfloat16).spikes
    spikes = b(x, STEPS, through_time=True)
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), b.neuron(b.normalised(b.synapse(x)), STEPS))
