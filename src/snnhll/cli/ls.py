"""snnhll ls [GROUP ...]   every option of every group, or of some, with its one-line description"""

from __future__ import annotations

from snnhll.cli.columns import aligned
from snnhll.config import conf_dir, groups, options
from snnhll.errors import UserError, nearest


def main(arguments: list[str]) -> int:
    """Print the options."""
    if unknown := next((group for group in arguments if group not in groups()), None):
        raise UserError(f"{unknown!r} is not a configuration group.{nearest(unknown, groups())}")
    for group in arguments or groups():
        print(group)
        print(*aligned([(name, describe(group, name)) for name in options(group)], indent="  "), sep="\n")
    return 0


def describe(group: str, name: str) -> str:
    """Return the description that the first comment of an option's YAML gives after the command."""
    lines = (conf_dir() / group / f"{name}.yaml").read_text().splitlines()
    first = next(line for line in lines if not line.startswith("# @"))  # Hydra's own header comes first
    return first.lstrip("# ").rstrip().partition("   ")[2].strip()
