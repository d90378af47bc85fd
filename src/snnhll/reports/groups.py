"""Runs from anywhere, sorted into groups that differ in their configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnhll.config import NOT_IDENTITY, Config, learner
from snnhll.errors import UserError, nearest


@dataclass(frozen=True)
class Group:
    """Runs that agree in the chosen keys. mixed: keys beside the seed in which they differ all the same."""

    name: str
    members: list[tuple[Path, Config]]
    mixed: list[str]


def grouped(folders: Sequence[Path], keys: Sequence[str] = ()) -> list[Group]:
    """Return the runs of `folders` by the values of `keys`, or without keys by everything but the seed."""
    runs = [(folder, read_config(folder)) for folder in folders]
    flat = [_flat(config) for _, config in runs]
    known = sorted({key for config in flat for key in config})
    for key in keys:
        if key not in known:
            raise UserError(f"--group-by {key}: no such key in the configuration of these runs.{nearest(key, known)}")
    differing = [key for key in known if len({_text(config.get(key)) for config in flat}) > 1 and key != "seed"]
    chosen = list(keys) or differing
    members: dict[str, list[int]] = {}
    for i, config in enumerate(flat):
        members.setdefault(_text([config.get(key) for key in chosen]), []).append(i)
    firsts = [indices[0] for indices in members.values()]
    names = _names([runs[i][1] for i in firsts], [flat[i] for i in firsts], chosen)
    mixed = [
        [key for key in differing if len({_text(flat[i].get(key)) for i in indices}) > 1]
        for indices in members.values()
    ]
    return [
        Group(name, [runs[i] for i in indices], keys_)
        for name, indices, keys_ in zip(names, members.values(), mixed, strict=True)
    ]


def read_config(folder: Path) -> Config:
    """Return the configuration of a run folder. Raises UserError when it holds none."""
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder}: no run here; expected the folder of a run, with config.yaml in it.") from error
    if not isinstance(config, dict) or "trainer" not in config:
        raise UserError(f"{folder}: its config.yaml is not that of a run.")
    return config


def _names(configs: Sequence[Config], flat: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[str]:
    """Return a name for each row: its values of the keys worth telling and, where rows share those, of what else sets
    them apart; what all rows have in common where there are no keys."""
    said = {key: _said(key, flat) for key in keys}
    told = [[key for key in _by_option(keys) if _worth_telling(key, keys, row, flat)] for row in flat]
    alike: dict[tuple[str, ...], list[int]] = {}
    for i, own in enumerate(told):
        alike.setdefault(tuple(said[key][i] for key in own), []).append(i)
    names = [""] * len(flat)
    for rows in alike.values():
        untold = sorted((key for key in keys if key not in told[rows[0]]), key=_is_target)
        shown = [*told[rows[0]], *_separating(said, untold, rows)]
        for i in rows:
            names[i] = ", ".join(said[key][i] for key in shown if said[key][i]) or _unsaid(configs[i], shown)
    return names


def _by_option(keys: Sequence[str]) -> list[str]:
    """Return the keys in order, the name of an option before what else is set in it."""
    return sorted(keys, key=lambda key: key.removesuffix(".name"))


def _worth_telling(key: str, keys: Sequence[str], row: dict[str, Any], flat: Sequence[dict[str, Any]]) -> bool:
    """Return whether `key` differs between the rows that have the options of `row` around it: an option that differs
    has other arguments, of which its name says all."""
    around = [k for k in keys if k.endswith(".name") and k != key and key.startswith(k.removesuffix("name"))]
    same = [other for other in flat if all(other.get(name) == row.get(name) for name in around)]
    return not _is_target(key) and (not around or len({_text(other.get(key)) for other in same}) > 1)


def _is_target(key: str) -> bool:
    return key.endswith("_target_")


def _separating(said: dict[str, list[str]], keys: Sequence[str], rows: Sequence[int]) -> list[str]:
    """Return those of `keys`, first come, that tell `rows` further apart."""
    found: list[str] = []
    apart = 1
    for key in keys:
        now = len({tuple(said[k][i] for k in (*found, key)) for i in rows})
        if now > apart:
            found, apart = [*found, key], now
    return found


def _said(key: str, flat: Sequence[dict[str, Any]]) -> list[str]:
    """Return `key=value` of each row: with few digits unless two values then read alike, and nothing for None where
    other rows do not even have the key."""
    values = [row.get(key) for row in flat]
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    if len(set(texts)) < len(set(map(_text, values))):
        texts = [str(value) for value in values]
    optional = any(key not in row for row in flat)
    return ["" if v is None and optional else f"{key}={text}" for v, text in zip(values, texts, strict=True)]


def _unsaid(config: Config, keys: Sequence[str]) -> str:
    """Return the name of a row that has none of `keys`."""
    if keys:
        return f"without {', '.join(keys)}"
    return f"{config['data']['name']}, {config['architecture']['name']}, {learner(config)}"


def _flat(node: Any, above: str = "") -> dict[str, Any]:
    """Return the defining keys of a configuration as dotted paths."""
    out: dict[str, Any] = {}
    for key, value in node.items():
        path = f"{above}{key}"
        if path in NOT_IDENTITY:
            continue
        if isinstance(value, dict):
            out |= _flat(value, f"{path}.")
        else:
            out[path] = value
    return out


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
