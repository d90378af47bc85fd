"""Checks of a composed configuration before anything of it is built."""

from __future__ import annotations

from typing import Any

from snnhll.build import check, locate
from snnhll.config import Config, settings
from snnhll.data import SHARED_KEYS, pipeline_options
from snnhll.losses.options import loss_options


def check_config(config: Config) -> None:
    """Check the settings of a configuration and the arguments of everything it would build."""
    trust = settings(config).trust
    pipeline_options(config["data"])
    loss_options(config["loss"])
    for path, node in _targets(config, ""):
        others = SHARED_KEYS if path == "data" else ("name",)  # keys that are not arguments of the target
        check(locate(node, path, trust), {k: v for k, v in node.items() if k not in ("_target_", *others)}, path)


def _targets(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every node below `node` that names a target, with its dotted path."""
    if not isinstance(node, dict):
        return []
    found = [(path, node)] if "_target_" in node else []
    for key, value in node.items():
        found += _targets(value, f"{path}.{key}" if path else str(key))
    return found
