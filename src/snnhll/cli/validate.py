"""snnhll validate [GROUP|SWEEP|FILE ...]   compose every option, preset and sweep, or some, and check each can be built

GROUP is a group of the configuration (snnhll ls), SWEEP a shipped sweep (snnhll sweep), FILE a sweep file of your own.
Of a sweep every row is checked: a mistake is told with the file, the row and what was expected.

  --config-dir DIR   with options of your own
  trust=[MODULE]     where their code is
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snnhll.check import check_config
from snnhll.config import NotInstalledError, compose, groups, options, take_own
from snnhll.errors import UserError, nearest
from snnhll.sweeps.definition import names, read
from snnhll.sweeps.jobs import mistakes


def main(arguments: list[str]) -> int:
    """Check everything, print what is wrong, and raise UserError when anything is."""
    known = [*groups(), *names()]
    own, words = take_own(arguments)
    chosen = words or known
    for word in chosen:
        if word not in known and not Path(word).suffix and not Path(word).exists():
            raise UserError(f"{word!r} is neither a configuration group nor a sweep.{nearest(word, known)}")
    counted = {"option": 0, "sweep": 0}
    problems: list[str] = []
    for word in chosen:
        if word in groups():
            counted["option"] += _check_group(word, own, problems)
        else:
            counted["sweep"] += 1
            problems += _sweep_mistakes(word, own)
    for problem in problems:
        print(problem)
    checked = " and ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counted.items() if count)
    if problems:
        raise UserError(f"{len(problems)} mistakes in {checked}." if len(problems) > 1 else f"1 mistake in {checked}.")
    print(f"{checked} checked, all valid")
    return 0


def _check_group(group: str, own: Sequence[str], problems: list[str]) -> int:
    """Check every option of a group, add what is wrong to `problems`, and return how many could be checked."""
    count = 0
    for name in options(group, own):
        try:
            check_config(compose([f"{group}={name}", *own]))
        except NotInstalledError as error:
            print(f"left out: {error}")
            continue
        except UserError as error:
            problems.append(f"{group}={name}: {error}")
        count += 1
    return count


def _sweep_mistakes(name: str, own: Sequence[str]) -> list[str]:
    try:
        return mistakes(read(name), own)
    except UserError as error:
        return [str(error)]
