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
    names = [_name(runs[i][1], flat[i], _told(chosen)) for i in firsts]
    if len(set(names)) < len(names):
        names = [_name(runs[i][1], flat[i], chosen) for i in firsts]
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


def _told(keys: list[str]) -> list[str]:
    """Return the keys worth telling: of an option that differs its name says all, not each of its arguments."""
    named = {key.removesuffix(".name") for key in keys if key.endswith(".name")}
    inside = [key for key in keys if any(key.startswith(f"{head}.") and key != f"{head}.name" for head in named)]
    return [key for key in keys if key not in inside]


def _name(config: Config, flat: dict[str, Any], keys: list[str]) -> str:
    """Return a group's name: its values of `keys`, or what all its runs have in common where no key differs."""
    named = ", ".join(f"{key}={flat.get(key)}" for key in keys)
    return named or f"{config['data']['name']}, {config['architecture']['name']}, {learner(config)}"


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
