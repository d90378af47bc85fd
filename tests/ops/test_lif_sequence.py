"""Gradients of `snnhll.ops.lif_sequence`: autograd of the reference against the chain rule by hand, fast against it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.networks.norm import BatchNorm
from snnhll.ops import LIFSettings, lif_pooled, lif_sequence, lif_step, reference
from snnhll.surrogates.arctangent import Arctangent
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential
from snnhll.surrogates.sigmoid import Sigmoid
from snnhll.surrogates.surrogate import Surrogate, spike
from snnhll.surrogates.triangle import Triangle

SOFT = LIFSettings(decay=math.exp(-1), v_th=1.0, reset="soft")
HARD = LIFSettings(decay=0.8, v_th=0.45, reset="hard", v_reset=-0.3)
NEURONS = pytest.mark.parametrize("neuron", [SOFT, HARD], ids=["soft", "hard"])
PATHS = pytest.mark.parametrize(
    ("through_time", "detach_reset"), [(False, False), (True, False), (True, True)], ids=["cut", "bptt", "detached"]
)


def gradient(path, current: Tensor, weights: Tensor, *how: object) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    """Spikes, and the gradient at the current of their sum with weights [T, B, ...]."""
    leaf = current.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    spikes = path(leaf, weights.shape[0], *how)
    (spikes * weights).sum().backward()
    assert leaf.grad is not None
    return spikes.detach(), leaf.grad


@NEURONS
@PATHS
@pytest.mark.parametrize("inputs", [1, 6])
def test_reference_is_the_chain_rule(neuron: LIFSettings, through_time: bool, detach_reset: bool, inputs: int) -> None:
    """Forward accumulation, one neuron and one input at a time: d s[t] / d I[k] carried along with the membrane."""
    rng, T, N, alpha = np.random.default_rng(3), 6, 40, 1.5
    current, weights = rng.normal(0.4, 0.8, (inputs, N)), rng.normal(size=(T, N))
    expected = np.zeros((inputs, N))
    for n in range(N):
        v, dv = 0.0, np.zeros(inputs)
        for t in range(T):
            k = t if inputs > 1 else 0
            u = neuron.decay * v + current[k, n]
            du = neuron.decay * dv * through_time
            du[k] += 1.0
            fired = float(u >= neuron.v_th)
            ds = alpha * math.exp(-alpha * abs(u - neuron.v_th)) * du
            expected[:, n] += weights[t, n] * ds
            ds_reset = 0.0 * ds if detach_reset else ds
            if neuron.reset == "soft":
                v, dv = u - neuron.v_th * fired, du - neuron.v_th * ds_reset
            else:
                v = neuron.v_reset if fired else u
                dv = (1 - fired) * du + (neuron.v_reset - u) * ds_reset
    leaf = torch.from_numpy(current).unsqueeze(1)
    _, got = gradient(
        reference.lif_sequence, leaf, torch.from_numpy(weights).unsqueeze(1), neuron, Exponential(alpha),
        through_time, detach_reset
    )  # fmt: skip
    np.testing.assert_allclose(got.squeeze(1).numpy(), expected, rtol=1e-10, atol=1e-12)


@NEURONS
@PATHS
@pytest.mark.parametrize("inputs", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_fast_is_the_reference(
    neuron: LIFSettings, through_time: bool, detach_reset: bool, inputs: int, dtype: torch.dtype, channels_last: bool
) -> None:
    draw = torch.Generator().manual_seed(5)
    current = (torch.randn(inputs, 2, 24, 7, 9, generator=draw) * 0.8 + 0.4).to(dtype)
    if channels_last:
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    weights = torch.randn(6, 2, 24, 7, 9, generator=draw).to(dtype)
    how = (neuron, Exponential(1.5), through_time, detach_reset)
    spikes, grad = gradient(lif_sequence, current, weights, *how)
    true_spikes, true_grad = gradient(reference.lif_sequence, current, weights, *how)
    assert torch.equal(spikes, true_spikes)
    assert grad.dtype == dtype
    rounding = {torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]  # one step of the stored precision
    torch.testing.assert_close(grad, true_grad, rtol=rounding, atol=1e-5)
    assert 0.05 < float(true_spikes.float().mean()) < 0.95


def by_autograd(z: Tensor, steps: int, norm: BatchNorm, *how: object) -> Tensor:
    """The reference's spikes of z scaled and shifted, with the gradient that autograd finds through the statistics."""
    scale, shift = (x.view(-1, *(1,) * (z.dim() - 3)) for x in norm.affine(z)[:2])
    y = norm(z)
    return reference.lif_sequence((z.float() * scale + shift).detach() + (y - y.detach()), steps, *how)  # type: ignore[arg-type]


@NEURONS
@PATHS
@pytest.mark.parametrize("inputs", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(24, 7, 9), (300,)], ids=["maps", "vectors"])
@pytest.mark.parametrize("alike", [False, True], ids=["steps differ", "gradient alike at every step"])
def test_normalisation_within_the_sequence(
    neuron: LIFSettings, through_time: bool, detach_reset: bool, inputs: int, dtype: torch.dtype, size: tuple[int, ...],
    alike: bool,
) -> None:  # fmt: skip
    draw = torch.Generator().manual_seed(9)
    z = torch.randn(inputs, 8, *size, generator=draw).movedim(2, -1).contiguous().movedim(-1, 2)
    z = (z * 1.5 + 0.7).to(dtype)
    weights = torch.randn(1 if alike else 6, 8, *size, generator=draw).to(dtype).expand(6, -1, *size)
    norm = BatchNorm(size[0])
    with torch.no_grad():
        norm.gamma.uniform_(0.5, 1.5, generator=draw)
        norm.beta.uniform_(0.0, 0.8, generator=draw)
    how = (neuron, Exponential(1.5), through_time, detach_reset)
    spikes, grad = gradient(lambda x, steps: lif_sequence(x, steps, *how, norm), z, weights)
    parameters = [norm.gamma.grad, norm.beta.grad]
    norm.gamma.grad = norm.beta.grad = None
    true_spikes, true_grad = gradient(lambda x, steps: by_autograd(x, steps, norm, *how), z, weights)
    assert spikes.dtype == grad.dtype == dtype
    assert torch.equal(spikes.float(), true_spikes)
    assert 0.05 < float(true_spikes.mean()) < 0.95
    exact = {torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]  # the gradient is stored twice, each time rounded
    for found, true in zip([grad, *parameters], [true_grad, norm.gamma.grad, norm.beta.grad], strict=True):
        assert found is not None
        assert true is not None
        torch.testing.assert_close(found.float(), true.float(), rtol=0, atol=exact * float(true.float().abs().max()))


@pytest.mark.parametrize("inputs", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("side", "piece"), [(1, 2**20), (3, 2**20), (3, 30_000)])
@pytest.mark.parametrize("training", [True, False], ids=["statistics of the batch", "running statistics"])
def test_pooled_is_the_sequence_pooled(
    inputs: int, dtype: torch.dtype, side: int, piece: int, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that overlap (7 by 3); the gradient written out for all eight images at once, and for three at a time."""
    monkeypatch.setattr("snnhll.ops.cpu.PIECE", piece)
    draw = torch.Generator().manual_seed(4)
    z = (torch.randn(inputs, 8, 7, 9, 24, generator=draw).movedim(-1, 2) * 1.5 + 0.7).to(dtype)
    weights = torch.randn(6, 8, 24, side, side, generator=draw).to(dtype)
    norm = BatchNorm(24).train(training)
    norm.running_mean.fill_(0.5)
    neuron = SOFT, Exponential(1.5)
    apart: list[Tensor] = []

    def pooled(x: Tensor, steps: int) -> Tensor:
        spikes, maps = lif_pooled(x, steps, *neuron, norm, side)
        assert not spikes.requires_grad
        apart.append(spikes)
        return maps

    def sequence_pooled(x: Tensor, steps: int) -> Tensor:
        spikes = lif_sequence(x, steps, *neuron, False, True, norm)
        apart.append(spikes.detach())
        return torch.stack([F.adaptive_avg_pool2d(s, side) for s in spikes])

    maps, grad = gradient(pooled, z, weights)
    parameters = [norm.gamma.grad, norm.beta.grad]
    norm.gamma.grad = norm.beta.grad = None
    true_maps, true_grad = gradient(sequence_pooled, z, weights)
    assert torch.equal(*apart)
    assert torch.equal(maps, true_maps)
    assert float(true_grad.float().abs().max()) > 0
    exact = {torch.float32: 1e-5, torch.bfloat16: 2 * 2**-7}[dtype]  # stored twice, each time a step apart at most
    for found, true in zip([grad, *parameters], [true_grad, norm.gamma.grad, norm.beta.grad], strict=True):
        assert found is not None
        assert true is not None
        torch.testing.assert_close(found, true, rtol=0, atol=exact * float(true.float().abs().max()))


def step_by_step(z: Tensor, norm: BatchNorm | None, neuron: LIFSettings) -> Tensor:
    """Spikes [T, B, ...] of `lif_step`, called once for each step of z."""
    v, spikes = None, []
    for now in z:
        s, v = lif_step(now, v, neuron, Exponential(1.5), norm)
        assert not v.requires_grad
        spikes.append(s)
    return torch.stack(spikes)


@NEURONS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(24, 7, 9), (300,)], ids=["maps", "vectors"])
def test_steps_one_by_one_are_the_sequence(neuron: LIFSettings, dtype: torch.dtype, size: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(7)
    z = (torch.randn(5, 4, *size, generator=draw).movedim(2, -1).contiguous().movedim(-1, 2) * 0.8 + 0.4).to(dtype)
    weights = torch.randn(5, 4, *size, generator=draw).to(dtype)
    spikes, grad = gradient(lambda x, _: step_by_step(x, None, neuron), z, weights)
    true_spikes, true_grad = gradient(reference.lif_sequence, z, weights, neuron, Exponential(1.5), False, True)
    assert spikes.dtype == grad.dtype == dtype
    assert torch.equal(spikes, true_spikes)
    rounding = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]
    torch.testing.assert_close(grad, true_grad, rtol=rounding, atol=1e-5 if dtype != torch.float64 else 1e-12)


@NEURONS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False], ids=["statistics of the step", "running statistics"])
def test_normalisation_within_a_step(neuron: LIFSettings, dtype: torch.dtype, training: bool) -> None:
    """Against autograd, through the statistics of every step by itself."""
    draw = torch.Generator().manual_seed(3)
    z = (torch.randn(4, 8, 7, 9, 24, generator=draw).movedim(-1, 2) * 1.5 + 0.7).to(dtype)
    weights = torch.randn(4, 8, 24, 7, 9, generator=draw).to(dtype)
    norm = BatchNorm(24).train(training)
    norm.running_mean.fill_(0.5)
    running = (None, None) if training else (norm.running_mean, norm.running_var)

    def by_hand(x: Tensor, _: int) -> Tensor:
        v, spikes = torch.zeros(8, 24, 7, 9), []
        for now in x:
            scale, shift = (term.view(-1, 1, 1) for term in norm.affine(now.unsqueeze(0))[:2])
            y = F.batch_norm(now.float(), *running, norm.gamma, norm.beta, training, eps=norm.eps)
            u = neuron.decay * v + (now.float() * scale + shift).detach() + (y - y.detach())
            spikes.append(spike(u - neuron.v_th, Exponential(1.5)))
            v = reference.reset(u, spikes[-1], neuron).detach()
        return torch.stack(spikes)

    spikes, grad = gradient(lambda x, _: step_by_step(x, norm, neuron), z, weights)
    parameters = [norm.gamma.grad, norm.beta.grad]
    norm.gamma.grad = norm.beta.grad = None
    true_spikes, true_grad = gradient(by_hand, z, weights)
    assert torch.equal(spikes.float(), true_spikes)
    assert 0.05 < float(true_spikes.mean()) < 0.95
    exact = {torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]
    for found, true in zip([grad, *parameters], [true_grad, norm.gamma.grad, norm.beta.grad], strict=True):
        assert found is not None
        assert true is not None
        torch.testing.assert_close(found.float(), true.float(), rtol=0, atol=exact * float(true.float().abs().max()))


def test_normalisation_with_running_statistics() -> None:
    """In evaluation nothing is taken from the batch: the gradient is that of a fixed scale."""
    z = torch.randn(4, 3, 20, generator=torch.Generator().manual_seed(2))
    norm = BatchNorm(20).eval()
    norm.running_mean.fill_(-0.5)
    how = (SOFT, Exponential(), True, True)
    weights = torch.ones(4, 3, 20)
    spikes, grad = gradient(lambda x, steps: lif_sequence(x, steps, *how, norm), z, weights)
    true_spikes, true_grad = gradient(lambda x, steps: reference.lif_sequence(norm(x), steps, *how), z, weights)
    assert torch.equal(spikes, true_spikes)
    torch.testing.assert_close(grad, true_grad)


@pytest.mark.parametrize("surrogate", [Sigmoid(4.0), Boxcar(0.3), Triangle(0.7), Arctangent(2.0)], ids=lambda s: s.name)
def test_fast_surrogates(surrogate: Surrogate) -> None:
    draw = torch.Generator().manual_seed(6)
    current, weights = torch.randn(5, 3, 300, generator=draw), torch.randn(5, 3, 300, generator=draw)
    how = (SOFT, surrogate, True, False)
    _, grad = gradient(lif_sequence, current, weights, *how)
    _, true_grad = gradient(reference.lif_sequence, current, weights, *how)
    torch.testing.assert_close(grad, true_grad, rtol=1e-5, atol=1e-5)
    assert float(true_grad.abs().max()) > 0.1


def test_many_steps_and_many_neurons() -> None:
    """More elements than one run holds, more steps than the backward pass keeps in a run of full length."""
    draw = torch.Generator().manual_seed(8)
    current, weights = torch.randn(1, 2, 1500, generator=draw) * 0.5, torch.randn(150, 2, 1500, generator=draw)
    how = (HARD, Exponential(), True, True)
    spikes, grad = gradient(lif_sequence, current, weights, *how)
    true_spikes, true_grad = gradient(reference.lif_sequence, current, weights, *how)
    assert torch.equal(spikes, true_spikes)
    torch.testing.assert_close(grad, true_grad, rtol=1e-4, atol=1e-4)


def test_nan_gradient_stays_nan_in_bfloat16() -> None:
    """A diverged loss must be seen, not rounded into a number."""
    current = torch.zeros(2, 1, 40, dtype=torch.bfloat16)
    weights = torch.full((2, 1, 40), math.nan, dtype=torch.bfloat16)
    _, grad = gradient(lif_sequence, current, weights, SOFT, Exponential(), False, False)
    assert grad.isnan().all()


def test_wrong_number_of_steps_is_named() -> None:
    with pytest.raises(UserError, match="for 5 steps"):
        lif_sequence(torch.zeros(3, 1, 4), 5, SOFT, Exponential(), True, True)
