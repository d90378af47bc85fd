"""The networks of the benchmark and what is derived from them."""

from __future__ import annotations

import pytest

from snnhll.bench.works import WORKS, Work

CONV = WORKS["conv"]


@pytest.mark.parametrize("work", WORKS.values(), ids=list(WORKS))
def test_every_work_fits_its_images(work: Work) -> None:
    layers = work.layers()
    assert layers[0].in_shape in (work.shape, (784,))


def test_conv_is_the_network_of_the_tables() -> None:
    layers = CONV.layers()
    assert [(layer.kind, layer.units, layer.pool) for layer in layers] == [
        ("conv", 32, 1),
        ("conv", 64, 2),
        ("conv", 64, 1),
        ("conv", 128, 2),
        ("linear", 256, 1),
    ]
    assert layers[-1].in_shape == (128 * 7 * 7,)


def test_wider_multiplies_channels() -> None:
    assert [layer.units for layer in CONV.wider(2).layers()] == [64, 128, 128, 256, 256]
    assert [layer.units for layer in WORKS["mlp"].wider(2).layers()] == [2048]


def test_deeper_repeats_hidden_layers_but_neither_pooling_nor_readout() -> None:
    assert CONV.deeper(2).spec == "32C3-32C3-64C3-64C3-P2-64C3-64C3-128C3-128C3-P2-FC256-FC256-FC10"
    assert WORKS["mlp"].deeper(3).spec == "784-1024-1024-1024-10"
    assert len(CONV.deeper(2).layers()) == 2 * len(CONV.layers())


def test_derived_works_carry_names_of_their_own() -> None:
    assert len({CONV.name, CONV.wider(2).name, CONV.deeper(2).name}) == 3


@pytest.mark.parametrize("work", WORKS.values(), ids=list(WORKS))
def test_sketch_has_the_same_kinds_of_layers(work: Work) -> None:
    def kinds(w: Work) -> list[tuple[str, int, int]]:
        return [(layer.kind, layer.kernel, layer.pool) for layer in w.layers()]

    def weights(w: Work) -> int:
        return sum(layer.units * layer.in_shape[0] * layer.kernel**2 for layer in w.layers())

    assert kinds(work.sketch()) == kinds(work)
    assert weights(work.sketch()) < weights(work) / 10
