"""From a configuration node to an object: what is converted, what is refused, and in which words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnhll.build import Fraction, NonNegative, Positive, PositiveInt, Range, build, check, convert, locate
from snnhll.errors import UserError
from snnhll.neurons.lif import LIF
from snnhll.schedules.step import Step
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential

BOXCAR = {"_target_": "snnhll.surrogates.boxcar.Boxcar"}
LIF_NODE = {"_target_": "snnhll.neurons.lif.LIF"}


@dataclass
class Example:
    count: PositiveInt
    ratio: Fraction = 0.5
    mode: Literal["fast", "slow"] = "fast"
    sizes: tuple[PositiveInt, ...] = (1,)
    limit: PositiveInt | None = None


def test_builds_the_target_with_its_arguments() -> None:
    assert build(BOXCAR | {"gamma": 0.25}, "surrogate") == Boxcar(0.25)
    assert build(BOXCAR, "surrogate") == Boxcar()
    step = build({"_target_": "snnhll.schedules.step.Step", "milestones": [0.5], "decay": 0.1}, "schedule")
    assert isinstance(step, Step)
    assert step.milestones == (0.5,)


def test_gives_the_target_the_context_it_names() -> None:
    surrogate = Exponential()
    neuron = build(LIF_NODE | {"decay": 0.5}, "neuron", surrogate=surrogate, unknown="to it")
    assert isinstance(neuron, LIF)
    assert neuron.surrogate is surrogate


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (BOXCAR | {"gama": 1.0}, r"surrogate\.gama: no such key\. Did you mean 'gamma'\?"),
        (BOXCAR | {"gamma": "wide"}, r"surrogate\.gamma: expected a number, got 'wide'"),
        (BOXCAR | {"gamma": True}, r"surrogate\.gamma: expected a number, got True"),
        (BOXCAR | {"gamma": 0}, r"surrogate\.gamma: 0\.0 is out of range, expected a number > 0"),
        (BOXCAR | {"gamma": math.nan}, r"surrogate\.gamma: nan is not a finite number"),
        ({"gamma": 1.0}, r"surrogate: has no _target_.*Choose an option of the group: surrogate=NAME"),
        (LIF_NODE, r"surrogate\.surrogate: missing; snnhll\.neurons\.lif\.LIF needs it"),
        (
            {"_target_": "os.system", "command": "true"},
            r"surrogate\._target_: 'os\.system' is not trusted.*trust=\[os\]",
        ),
        ({"_target_": "snnhllx.thing"}, "is not trusted"),
        ({"_target_": "snnhll.surrogates.boxcar.Boxcars"}, r"cannot import 'snnhll\.surrogates\.boxcar\.Boxcars'"),
        ({"_target_": "snnhll.surrogates.nothing.Boxcar"}, "cannot import"),
        ({"_target_": 3}, "has no _target_"),
    ],
)
def test_mistakes_are_named(node: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        build(node, "surrogate")
    assert "\n" not in str(raised.value)


def test_what_the_program_sets_is_no_key() -> None:
    with pytest.raises(UserError, match=r"neuron\.surrogate: not a key of the configuration.*remove it"):
        build(LIF_NODE | {"surrogate": Exponential()}, "neuron", surrogate=Exponential())


def test_trust_admits_a_module_and_nothing_like_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("class Thing:\n    pass\n")
    (tmp_path / "mine2.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert type(build({"_target_": "mine.Thing"}, "loss", trust=["mine"])).__name__ == "Thing"
    for trust in ([], ["min"], ["mine2"]):
        with pytest.raises(UserError, match="not trusted"):
            locate({"_target_": "mine.Thing"}, "loss", trust)
    with pytest.raises(UserError, match="not trusted"):
        locate({"_target_": "mine2.Thing"}, "loss", ["mine"])


def test_checks_a_dataclass_against_its_fields() -> None:
    found = check(Example, {"count": 3.0, "mode": "slow", "sizes": [1, 2.0], "limit": None}, "x")
    assert found == {"count": 3, "mode": "slow", "sizes": (1, 2), "limit": None}
    assert isinstance(found["count"], int)
    assert isinstance(found["sizes"][1], int)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("count", 0, "x.count: 0 is out of range, expected a number >= 1"),
        ("count", 2.5, "x.count: expected a whole number, got 2.5"),
        ("count", math.inf, "x.count: expected a whole number, got inf"),
        ("count", None, "x.count: expected a whole number, got None"),
        ("ratio", 1.5, r"x.ratio: 1.5 is out of range, expected a number in \[0, 1\]"),
        ("mode", "slwo", "x.mode: 'slwo' is not an option. Did you mean 'slow'?"),
        ("sizes", 3, r"x.sizes: expected a list \[a, b\], got 3"),
        ("sizes", [1, 0], r"x.sizes\[1\]: 0 is out of range"),
        ("limit", 0, "x.limit: 0 is out of range"),
        ("limit", "all", "x.limit: expected a whole number, got 'all'"),
    ],
)
def test_values_are_checked_by_type_and_range(key: str, value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(Example, {key: value}, "x")


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6))
def test_numbers_pass_exactly_where_the_range_holds_them(value: float) -> None:
    for hint, holds in ((Positive, value > 0), (NonNegative, value >= 0), (Fraction, 0 <= value <= 1)):
        if holds:
            found = convert(value, hint, "x")
            assert found == value
            assert isinstance(found, float)
        else:
            with pytest.raises(UserError, match="out of range"):
                convert(value, hint, "x")


@pytest.mark.parametrize(
    ("bounds", "text", "inside", "outside"),
    [
        (Range(0, 1), "in [0, 1]", [0, 0.5, 1], [-0.1, 1.1]),
        (Range(0, 1, open_low=True), "in (0, 1]", [0.1, 1], [0]),
        (Range(0, 1, open_high=True), "in [0, 1)", [0, 0.9], [1]),
        (Range(2), ">= 2", [2, 1e9], [1.9]),
        (Range(2, open_low=True), "> 2", [2.1], [2]),
        (Range(high=3), "<= 3", [3, -1e9], [3.1]),
        (Range(high=3, open_high=True), "< 3", [2.9], [3]),
    ],
)
def test_range(bounds: Range, text: str, inside: list[float], outside: list[float]) -> None:
    assert str(bounds) == text
    assert all(v in bounds for v in inside)
    assert not any(v in bounds for v in outside)


def test_nested_types() -> None:
    assert convert({"a": 1}, dict[str, float], "x") == {"a": 1.0}
    with pytest.raises(UserError, match=r"x\.a: expected a number, got 'one'"):
        convert({"a": "one"}, dict[str, float], "x")
    assert convert([1, 2], list[float], "x") == [1.0, 2.0]
    assert convert([1, "a"], tuple[float, str], "x") == (1.0, "a")
    assert convert([1, 2, 3], tuple[int, ...], "x") == (1, 2, 3)
    with pytest.raises(UserError, match=r"x: \[1\] has 1 items, expected 2"):
        convert([1], tuple[float, str], "x")
    assert convert("text", str | None, "x") == "text"
    assert convert(None, Annotated[int, Range(1)] | None, "x") is None
    with pytest.raises(UserError, match="expected true or false, got 1"):
        convert(1, bool, "x")
    with pytest.raises(UserError, match="expected text, got 1"):
        convert(1, str, "x")
    with pytest.raises(UserError, match="expected a mapping"):
        convert([1], dict[str, float], "x")
