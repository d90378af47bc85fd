"""snnhll ls [GROUP ...]        every option of every group, or of some, with its one-line description
snnhll ls --config-dir DIR   with those of your own in DIR
"""

from __future__ import annotations

from collections.abc import Sequence

from snnhll.cli.columns import aligned
from snnhll.config import conf_dirs, groups, options, take_own
from snnhll.errors import UserError, nearest


def main(arguments: list[str]) -> int:
    """Print the options."""
    own, chosen = take_own(arguments)
    if unknown := next((group for group in chosen if group not in groups()), None):
        raise UserError(f"{unknown!r} is not a configuration group.{nearest(unknown, groups())}")
    for group in chosen or groups():
        print(group)
        print(*aligned([(name, describe(group, name, own)) for name in options(group, own)], indent="  "), sep="\n")
    return 0


def describe(group: str, name: str, own: Sequence[str]) -> str:
    """Return the description that the first comment of an option's YAML gives after the command, if there is one."""
    files = (folder / group / f"{name}.yaml" for folder in conf_dirs(own))
    lines = next(file for file in files if file.exists()).read_text().splitlines()
    first = next((line for line in lines if not line.startswith("# @")), "")  # Hydra's own header comes first
    return first.lstrip("# ").rstrip().partition("   ")[2].strip()
