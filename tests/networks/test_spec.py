"""Specification strings: what they mean, and that nothing but a UserError comes of a bad one."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from snnhll.errors import UserError
from snnhll.networks.spec import Layer, parse

VGG8 = "128C3-256C3-P2-256C3-512C3-P2-512C3-P2-512C3-P2-FC1024-FC10"


def test_mlp_of_table_3_1() -> None:
    assert parse("784-1024-10", (1, 28, 28), 10) == (Layer("linear", (784,), 1024),)


@pytest.mark.parametrize(
    ("side", "maps", "features"), [(28, [28, 28, 14, 14, 7, 3], 512), (32, [32, 32, 16, 16, 8, 4], 2048)]
)
def test_vgg8_of_table_3_1(side: int, maps: list[int], features: int) -> None:
    *convolutions, full = parse(VGG8, (3, side, side), 10)
    assert [layer.units for layer in convolutions] == [128, 256, 256, 512, 512, 512]
    assert [layer.out_shape[1:] for layer in convolutions] == [(m, m) for m in maps]
    assert {layer.kernel for layer in convolutions} == {3}
    assert [layer.pool for layer in convolutions] == [1, 2, 1, 2, 2, 2]
    assert full == Layer("linear", (features,), 1024)


def test_every_layer_receives_what_the_one_before_sends() -> None:
    layers = parse(VGG8, (3, 32, 32), 10)
    for earlier, later in pairwise(layers):
        sent = earlier.pooled_shape
        assert later.in_shape == (sent if later.kind == "conv" else (prod(sent),))


def test_width_multiplies_convolutions_only_where_there_are_any() -> None:
    assert [layer.units for layer in parse("12C5-P2-64C5-P2-FC50-FC10", (1, 28, 28), 10, 2.0)] == [24, 128, 50]
    assert [layer.units for layer in parse("784-1024-512-10", (1, 28, 28), 10, 0.5)] == [512, 256]


def test_n_stands_for_the_number_of_classes() -> None:
    assert parse("12C5-P2-FCn", (1, 28, 28), 17) == parse("12C5-P2-FC17", (1, 28, 28), 17)
    assert parse("784-64-n", (1, 28, 28), 3) == parse("784-64-3", (1, 28, 28), 3)


@given(
    side=st.integers(1, 12),
    channels=st.integers(1, 3),
    units=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 4),
    pool=st.integers(1, 4),
)
def test_shapes_are_those_torch_computes(
    side: int, channels: int, units: int, kernel: int, stride: int, pool: int
) -> None:
    spec, image = f"{units}C{kernel}s{stride}-P{pool}-FC2", (channels, side, side + 1)
    z = F.conv2d(torch.zeros(1, *image), torch.zeros(units, channels, kernel, kernel), None, stride, kernel // 2)
    if pool > min(z.shape[2:]):
        with pytest.raises(UserError, match=r"layer 2 \(P\d\).*cannot pool a map of"):
            parse(spec, image, 2)
        return
    (layer,) = parse(spec, image, 2)
    assert layer.out_shape == z.shape[1:]
    assert layer.pooled_shape == F.max_pool2d(z, pool).shape[1:]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("FC4", "no hidden layer"),
        ("64", "no hidden layer"),
        ("64-4", "no hidden layer"),
        ("", "no hidden layer"),
        ("784-1024-10", "expects 784 inputs, but an image here has 1x8x8 = 64; start the string with 64"),
        ("64-32-10", "readout of '64-32-10' has 10 classes, but the labels have 4; end the string with 4 or n"),
        ("8C3-P2", r"must end in the readout, FC4 or FCn, not 'P2'"),
        ("8C3-P2-8C3-P9-FC4", r"layer 4 \(P9\).*cannot pool a map of 4x4 by 9"),
        ("8C3-P0-FC4", r"layer 2 \(P0\).*cannot pool"),
        ("8C3-P2-P2-FC4", r"layer 3 \(P2\).*pooling must follow a convolution"),
        ("P2-8C3-FC4", r"layer 1 \(P2\).*pooling must follow a convolution"),
        ("64-32-P2-4", r"layer 2 \(P2\).*pooling must follow a convolution"),
        ("FC32-8C3-FC4", r"layer 2 \(8C3\).*cannot follow a fully connected layer"),
        ("8C4-FC4", r"layer 1 \(8C4\).*kernel size must be odd"),
        ("8C3s0-FC4", r"layer 1 \(8C3s0\).*stride at least 1"),
        ("0C3-FC4", r"layer 1 \(0C3\).*has 0 units"),
        ("64-0-4", r"layer 1 \(0\).*has 0 units"),
        ("8X3-FC4", r"layer 1 \(8X3\).*cannot read this layer; expected 128C3, P2, FC1024 or a number"),
        ("8C3--FC4", r"layer 2 \(\).*cannot read"),
        ("8c3-FC4", r"layer 1 \(8c3\).*cannot read"),
        ("²-FC4", r"layer 1 \(²\).*cannot read"),
        ("FC" + "9" * 5000 + "-FC4", "cannot read"),
    ],
)
def test_bad_strings_name_layer_and_reason(spec: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        parse(spec, (1, 8, 8), 4)
    assert "\n" not in str(raised.value)


def test_width_that_leaves_no_channel_is_refused() -> None:
    with pytest.raises(UserError, match=r"layer 1 \(8C3\).*0 units after the width multiplier"):
        parse("8C3-FC4", (1, 8, 8), 4, 0.01)


tokens = st.one_of(
    st.from_regex(r"[0-9]{1,3}C[0-9]{1,2}(s[0-9])?", fullmatch=True),
    st.from_regex(r"P[0-9]{1,2}", fullmatch=True),
    st.from_regex(r"(FC)?[0-9]{1,4}", fullmatch=True),
    st.sampled_from(["64", "FC4", "FCn", "n", "4"]),
    st.text(max_size=4),
)


@given(st.one_of(st.text(), st.lists(tokens, max_size=6).map("-".join)))
def test_any_text_is_a_network_that_fits_or_a_user_error(spec: str) -> None:
    try:
        layers = parse(spec, (1, 8, 8), 4)
    except UserError:
        return
    assert layers
    assert prod(layers[0].in_shape) == 64
    for layer in layers:
        assert min(*layer.in_shape, *layer.out_shape, *layer.pooled_shape, layer.kernel, layer.stride) >= 1
