"""snnhll ls [GROUP]   every option of every group, or of one, with its one-line description"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from snnhll.config import conf_dir, groups, options
from snnhll.errors import UserError, nearest


def main(arguments: list[str]) -> int:
    """Print the options."""
    wanted = arguments or groups()
    console = Console(highlight=False)
    for group in wanted:
        if group not in groups():
            raise UserError(f"{group!r} is not a configuration group.{nearest(group, groups())}")
        table = Table(box=None, show_header=False, pad_edge=False, title=f"[bold]{group}[/]", title_justify="left")
        for name in options(group):
            table.add_row(f"  {name}", describe(group, name))
        console.print(table)
    return 0


def describe(group: str, name: str) -> str:
    """Return the description that the first comment of an option's YAML gives after the command."""
    lines = (conf_dir() / group / f"{name}.yaml").read_text().splitlines()
    first = next(line for line in lines if not line.startswith("# @"))  # Hydra's own header comes first
    return first.lstrip("# ").rstrip().partition("   ")[2].strip()
