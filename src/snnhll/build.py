"""The only place where configuration becomes objects.

A configuration node names what it builds by `_target_`; the rest of its keys are the arguments. They are checked
against the signature of the target before it is called: unknown names, types and ranges (`Annotated[float, Range(0,
1)]`). Targets are code, so only those under `TRUSTED`, and under modules the user trusts with `trust=[module]`, are
imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from snnhll.errors import UserError, nearest

TRUSTED = ("snnhll.", "torch.optim.")
EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list [a, b]",
    tuple: "a list [a, b]",
    dict: "a mapping {key: value}",
    type(None): "null",
}


@dataclass(frozen=True)
class Range:
    """Bounds of a number; `open_low`/`open_high` exclude the bound itself."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        low, high = f"{self.low:g}", f"{self.high:g}"
        if self.high == math.inf:
            return f"{'>' if self.open_low else '>='} {low}"
        if self.low == -math.inf:
            return f"{'<' if self.open_high else '<='} {high}"
        return f"in {'(' if self.open_low else '['}{low}, {high}{')' if self.open_high else ']'}"


Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]


def build(node: Mapping[str, Any], where: str, trust: Iterable[str] = (), **context: Any) -> Any:
    """Build the object that `node` describes.

    node: mapping with `_target_` and the arguments of that target. where: dotted path of the node, for messages.
    context: arguments the program supplies (shapes, generators); a target takes those its signature names.
    Raises UserError for an untrusted or missing target, an unknown or missing argument, a wrong type or a value out of
    range.
    """
    target = locate(node, where, trust)
    arguments = check(target, {k: v for k, v in node.items() if k != "_target_"}, where)
    accepted = inspect.signature(target).parameters
    supplied = {k: v for k, v in context.items() if k in accepted}
    if taken := next((k for k in arguments if k in supplied), None):
        raise UserError(f"{where}.{taken}: not a key of the configuration, the program sets it; remove it.")
    required = (
        k for k, p in accepted.items() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )
    if missing := next((k for k in required if k not in supplied and k not in arguments), None):
        raise UserError(f"{where}.{missing}: missing; {node['_target_']} needs it.")
    return target(**supplied, **arguments)


def locate(node: Mapping[str, Any], where: str, trust: Iterable[str] = ()) -> Callable[..., Any]:
    """Import the target of `node`. Raises UserError when it is missing, untrusted or does not exist."""
    path = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(path, str):
        raise UserError(
            f"{where}: has no _target_, so it cannot be built. Choose an option of the group: {where}=NAME."
        )
    allowed = (*TRUSTED, *(f"{module.rstrip('.')}." for module in trust))
    if not path.startswith(allowed):
        raise UserError(
            f"{where}._target_: {path!r} is not trusted code. Targets may start with {', '.join(allowed)}; "
            f"to run your own module, name it: trust=[{path.split('.')[0]}]."
        )
    module_name, _, name = path.rpartition(".")
    try:
        return typing.cast(Callable[..., Any], getattr(importlib.import_module(module_name), name))
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where}._target_: cannot import {path!r} ({error}).") from error


def check(target: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check `arguments` against the signature of `target` and return them converted to the annotated types."""
    parameters = inspect.signature(target).parameters
    hints = _hints(target)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    checked = {}
    for name, value in arguments.items():
        if name not in parameters and not open_ended:
            raise UserError(f"{where}.{name}: no such key.{nearest(name, parameters)}")
        checked[name] = convert(value, hints.get(name, Any), f"{where}.{name}")
    return checked


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotated types of a target's arguments; those a dataclass inherits are resolved in their own
    module."""
    if inspect.isclass(target) and not dataclasses.is_dataclass(target):
        return typing.get_type_hints(target.__init__, include_extras=True)
    return typing.get_type_hints(target, include_extras=True)


def convert(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type `hint` asks for, or raise UserError naming the value and what was expected."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *extras = get_args(hint)
        value = convert(value, base, where)
        for bound in (e for e in extras if isinstance(e, Range) and value is not None):
            if value not in bound:
                raise UserError(f"{where}: {value!r} is out of range, expected a number {bound}.")
        return value
    if origin is Literal:
        if value not in get_args(hint):
            raise UserError(f"{where}: {value!r} is not an option.{nearest(str(value), map(str, get_args(hint)))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, get_args(hint), where)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        kinds = _kinds(get_args(hint) or (Any,), len(value), f"{where}: {value!r}")
        return origin(convert(v, kind, f"{where}[{i}]") for i, (v, kind) in enumerate(zip(value, kinds, strict=True)))
    if origin is dict and isinstance(value, Mapping):
        inner = (get_args(hint) or (Any, Any))[1]
        return {k: convert(v, inner, f"{where}.{k}") for k, v in value.items()}
    return _convert_plain(value, origin if origin in (list, tuple, dict) else hint, where)


def _kinds(hints: tuple[Any, ...], count: int, what: str) -> tuple[Any, ...]:
    """Return the type of each of `count` items: of list[X] and tuple[X, ...] that of all, of tuple[X, Y] its own."""
    if len(hints) == 1 or hints[-1] is Ellipsis:
        return hints[:1] * count
    if count != len(hints):
        raise UserError(f"{what} has {count} items, expected {len(hints)}.")
    return hints


def _convert_union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    first: UserError | None = None
    for option in options:
        try:
            return convert(value, option, where)
        except UserError as error:
            first = first or error
    raise first or UserError(f"{where}: {value!r} is not accepted.")


def _convert_plain(value: Any, hint: Any, where: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and number:
        if not math.isfinite(value):
            raise UserError(f"{where}: {value!r} is not a finite number.")
        return float(value)
    if hint is int and number and math.isfinite(value) and value == int(value):
        if abs(value) >= 2**63:
            raise UserError(f"{where}: {value!r} is too large for a whole number of 64 bits.")
        return int(value)
    if hint in (int, float, bool, str, dict, list, tuple) or hint is type(None):
        if isinstance(value, hint) and (hint in (bool, dict, list, tuple, str) or number):
            return value
        raise UserError(f"{where}: expected {EXPECTED.get(hint, hint.__name__)}, got {value!r}.")
    if inspect.isclass(hint) and hint is not Any and not isinstance(value, hint):
        raise UserError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value
