"""snnhll validate [GROUP ...]   compose every option and preset, or some groups, and check that each can be built"""

from __future__ import annotations

from snnhll.check import check_config
from snnhll.config import NotInstalledError, compose, groups, options
from snnhll.errors import UserError, nearest


def main(arguments: list[str]) -> int:
    """Check everything, print what is wrong, and raise UserError when anything is."""
    if unknown := next((group for group in arguments if group not in groups()), None):
        raise UserError(f"{unknown!r} is not a configuration group.{nearest(unknown, groups())}")
    chosen = arguments or groups()
    problems, count = [], 0
    for group in chosen:
        for name in options(group):
            count += 1
            try:
                check_config(compose([f"{group}={name}"]))
            except NotInstalledError as error:
                print(f"left out: {error}")
                count -= 1
            except UserError as error:
                problems.append(f"{group}={name}: {error}")
    for problem in problems:
        print(problem)
    if problems:
        raise UserError(f"{len(problems)} of {count} options are wrong.")
    print(f"{count} options of {len(chosen)} groups are valid")
    return 0
