"""One layer: which parts it has, and dropout and pooling on the way to the next."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from snnhll.networks.block import Block, dropout_mask
from snnhll.networks.spec import Layer
from snnhll.neurons.lif import LIF
from snnhll.surrogates.exponential import Exponential

CONV, LINEAR = Layer("conv", (2, 7, 7), 6, 3, pool=2), Layer("linear", (11,), 6)


def block(layer: Layer, norm: Any = "none", dropout: float = 0.0) -> Block:
    torch.manual_seed(0)
    return Block(layer, LIF(Exponential(), 0.7, 0.6), norm, dropout).double()


def spikes(layer: Layer, steps: int = 4, batch: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return (torch.rand(steps, batch, *layer.out_shape, generator=draw) < 0.4).double()


@pytest.mark.parametrize(
    ("norm", "names"),
    [
        ("none", {"synapse.weight", "synapse.bias"}),
        ("batch", {"synapse.weight", "norm.gamma", "norm.beta"}),
        ("weight", {"synapse.weight", "synapse.bias", "synapse.gain"}),
    ],
)
def test_parameters_of_each_normalisation(norm: Any, names: set[str]) -> None:
    assert {name for name, _ in block(CONV, norm).named_parameters()} == names


@pytest.mark.parametrize("layer", [CONV, LINEAR], ids=["conv", "linear"])
@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_forward_is_synapse_then_norm_then_neuron(layer: Layer, norm: Any) -> None:
    b, x = block(layer, norm), torch.rand(4, 3, *layer.in_shape, dtype=torch.float64)
    z = b.synapse(x)
    expected = b.neuron(z if b.norm is None else b.norm(z), 4)
    assert torch.equal(b(x, 4), expected)
    assert expected.unique().tolist() == [0, 1]


def test_no_gate_in_evaluation_or_without_dropout() -> None:
    like = spikes(CONV)[0]
    assert block(CONV, dropout=0.5).eval().gate(like) is None
    assert block(CONV, dropout=0.0).train().gate(like) is None
    gate = block(CONV, dropout=0.5).train().gate(like)
    assert gate is not None
    assert gate.unique().tolist() == [0, 2]


def test_transmit_gates_every_step_alike_and_then_pools() -> None:
    b, s = block(CONV, dropout=0.5), spikes(CONV)
    gate = dropout_mask(s[0], 0.5)
    sent = b.transmit(s, gate)
    assert sent.shape == (4, 3, *CONV.pooled_shape)
    for t in range(len(s)):
        torch.testing.assert_close(sent[t], F.max_pool2d(s[t] * gate, 2))
    assert torch.equal(b.transmit(s, None)[2], F.max_pool2d(s[2], 2))
    flat = spikes(LINEAR)
    assert torch.equal(block(LINEAR).transmit(flat, None), flat)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_mask_drops_the_share_it_is_told(p: float) -> None:
    torch.manual_seed(3)
    mask = dropout_mask(torch.empty(50, 40, 10, 10), p)
    kept = (mask > 0).double()
    error = (p * (1 - p) / mask.numel()) ** 0.5
    assert 1 - kept.mean().item() == pytest.approx(p, abs=5 * error)
    assert mask[mask > 0].unique().tolist() == pytest.approx([1 / (1 - p)])
    assert mask.mean().item() == pytest.approx(1, abs=5 * error / (1 - p))


def test_mask_of_one_element_tells_nothing_of_another() -> None:
    """Four elements share a random word; among neighbours every one of the 2^4 patterns must come equally often."""
    torch.manual_seed(4)
    dropped = (dropout_mask(torch.empty(1, 4 * 40_000), 0.5) == 0).view(-1, 4).long()
    counts = torch.bincount((dropped * torch.tensor([1, 2, 4, 8])).sum(1), minlength=16).double()
    expected = 40_000 / 16
    assert ((counts - expected).abs() < 5 * expected**0.5).all()


@given(
    p=st.floats(0, 1, exclude_max=True),
    shape=st.sampled_from([(1, 1), (3, 5), (2, 3, 1, 1), (2, 3, 4, 5), (1, 7, 3, 3)]),
    seed=st.integers(0, 2**31),
)
def test_mask_is_zero_or_the_scale_for_every_probability(p: float, shape: tuple[int, ...], seed: int) -> None:
    like = torch.empty(shape)
    torch.manual_seed(seed)
    mask = dropout_mask(like, p)
    assert mask.shape == like.shape
    assert mask.dtype == torch.float32
    scale = torch.tensor(1 - p).reciprocal()
    assert ((mask == 0) | torch.isclose(mask, scale)).all()
    torch.manual_seed(seed)
    assert torch.equal(dropout_mask(like, p), mask)


def test_probability_next_to_one_drops() -> None:
    assert dropout_mask(torch.empty(8, 64), 1 - 1e-6).count_nonzero() < 8


def test_mask_lies_in_memory_as_maps_do() -> None:
    maps = torch.empty(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert dropout_mask(maps, 0.5).stride() == maps.stride()
    assert dropout_mask(torch.empty(2, 3), 0.5).is_contiguous()
