"""What the rows of runs from anywhere are called: as much as tells them apart, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from snnhll.reports.groups import grouped

LIF = {"name": "lif", "_target_": "neurons.LIF", "decay": 0.36787944117144233, "v_th": 1.0}
PLIF = {"name": "plif", "_target_": "neurons.PLIF", "v_th": 1.0, "start": None}
PLAIN = {
    "data": {"name": "digits"},
    "architecture": {"name": "small"},
    "rule": {"name": "local"},
    "loss": {"name": "pred"},
    "trainer": {"steps": 10},
    "seed": 0,
}
Names = Callable[..., list[str]]


@pytest.fixture
def names(tmp_path: Path) -> Names:
    """A function from what is special about runs to what their rows are called."""

    def call(*special: dict[str, Any], keys: tuple[str, ...] = ()) -> list[str]:
        folders = [tmp_path / str(i) for i in range(len(special))]
        for folder, own in zip(folders, special, strict=True):
            folder.mkdir()
            OmegaConf.save(OmegaConf.create(PLAIN | own), folder / "config.yaml")
        return [group.name for group in grouped(folders, keys)]

    return call


def test_only_rows_that_share_a_name_say_more_and_only_what_sets_them_apart(names: Names) -> None:
    low, late = LIF | {"v_th": 0.5}, LIF | {"decay": 0.7}
    assert names(*({"neuron": neuron} for neuron in (LIF, low, late, PLIF))) == [
        "neuron.name=lif, neuron.decay=0.367879, neuron.v_th=1",
        "neuron.name=lif, neuron.decay=0.367879, neuron.v_th=0.5",
        "neuron.name=lif, neuron.decay=0.7, neuron.v_th=1",
        "neuron.name=plif",
    ]


def test_rows_of_one_option_tell_all_that_differs_in_it(names: Names) -> None:
    """Also where something else would set them apart already."""
    low = LIF | {"v_th": 0.5}
    runs = [{"neuron": PLIF}, {"neuron": LIF}, {"neuron": low, "trainer": {"steps": 4}}]
    assert names(*runs) == [
        "neuron.name=plif, trainer.steps=10",
        "neuron.name=lif, neuron.v_th=1, trainer.steps=10",
        "neuron.name=lif, neuron.v_th=0.5, trainer.steps=4",
    ]


@pytest.mark.parametrize(
    ("decays", "shown"),
    [((0.36787944117144233, 0.5), ("0.367879", "0.5")), ((0.36787941, 0.36787942), ("0.36787941", "0.36787942"))],
)
def test_numbers_have_few_digits_unless_those_are_alike(
    names: Names, decays: tuple[float, float], shown: tuple[str, str]
) -> None:
    assert names(*({"neuron": LIF | {"decay": decay}} for decay in decays)) == [f"neuron.decay={s}" for s in shown]


def test_none_is_said_where_every_run_has_the_key(names: Names) -> None:
    runs = [{"trainer": {"steps": 10, "clip": clip}} for clip in (None, 1.0)]
    assert names(*runs) == ["trainer.clip=None", "trainer.clip=1"]


def test_a_key_that_a_run_lacks_is_left_out_of_its_name(names: Names) -> None:
    runs = [{"trainer": {"steps": 4, "clip": 1.0}}, {"trainer": {"steps": 4, "clip": None}}, {}]
    assert names(*runs) == ["trainer.clip=1, trainer.steps=4", "trainer.steps=4", "trainer.steps=10"]


def test_a_row_with_none_of_the_keys_says_so(names: Names) -> None:
    assert names({"neuron": LIF}, {"neuron": PLIF}, keys=("neuron.decay",)) == [
        "neuron.decay=0.367879",
        "without neuron.decay",
    ]


@pytest.mark.parametrize(
    ("v_th", "key", "values"),
    [(0.5, "v_th", ("1", "0.5")), (1.0, "_target_", ("neurons.LIF", "mine.LIF"))],
)
def test_a_class_is_said_only_where_nothing_else_tells_rows_apart(
    names: Names, v_th: float, key: str, values: tuple[str, str]
) -> None:
    mine = LIF | {"_target_": "mine.LIF", "v_th": v_th}
    assert names({"neuron": LIF}, {"neuron": mine}) == [f"neuron.{key}={value}" for value in values]
