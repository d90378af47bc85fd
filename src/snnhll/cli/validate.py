"""snnhll validate   compose every option of every group and every preset, and check that each can be built"""

from __future__ import annotations

from typing import Any

from rich.console import Console

from snnhll.build import check, locate
from snnhll.config import Config, compose, groups, options, settings
from snnhll.errors import UserError

PIPELINE_NODES = ("data",)  # checked by the data package itself, with keys beside those of the target


def main(arguments: list[str]) -> int:
    """Check everything; raises UserError listing what is wrong."""
    problems, count = [], 0
    for group in groups():
        for name in options(group):
            count += 1
            try:
                check_config(compose([f"{group}={name}"]))
            except UserError as error:
                problems.append(f"{group}={name}: {error}")
    console = Console(highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(problem, markup=False)
    if problems:
        raise UserError(f"{len(problems)} of {count} options are wrong.")
    console.print(f"{count} options of {len(groups())} groups are valid")
    return 0


def check_config(config: Config) -> None:
    """Check the settings of a configuration and the arguments of everything it would build."""
    settings(config)
    for path, node in _targets(config, ""):
        target = locate(node, path)
        if path not in PIPELINE_NODES:
            check(target, {k: v for k, v in node.items() if k not in ("_target_", "name")}, path)


def _targets(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every node below `node` that names a target, with its dotted path."""
    if not isinstance(node, dict):
        return []
    found = [(path, node)] if "_target_" in node else []
    for key, value in node.items():
        found += _targets(value, f"{path}.{key}" if path else str(key))
    return found
