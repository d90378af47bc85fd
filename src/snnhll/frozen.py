"""Composed configurations kept in a file, for machines that have torch but not Hydra."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from snnhll.config import Config, compose

HERE = ["data.root=.", "tracking=none"]  # where the sets are is said when a configuration is used


def freeze(path: Path, named: Mapping[str, Sequence[str]]) -> None:
    """Compose the overrides of every name and keep the results in `path`. Needs Hydra."""
    lines = [f"{json.dumps(name)}: {json.dumps(compose([*overrides, *HERE]))}" for name, overrides in named.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def thaw(path: Path) -> dict[str, Config]:
    """Return what `freeze` kept, by name."""
    kept: dict[str, Config] = json.loads(path.read_text())
    return kept
