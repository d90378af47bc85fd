"""Tab completion: Hydra's own, and what Hydra does not know of: sub-commands, sweeps, files that are no options.

The shell calls `snnhll -sc query=SHELL` with the line typed so far in COMP_LINE.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable

from snnhll.cli import train
from snnhll.cli.commands import COMMANDS
from snnhll.config import groups, options
from snnhll.sweeps.definition import names as sweeps

NOT_MEANT = ("._target_=", ".name=")  # keys that options set, not users


def main(arguments: list[str]) -> int:
    """Print what the last word of COMP_LINE may become, as the shell asks for it."""
    _, *words = os.environ["COMP_LINE"].split(" ")
    separator = "\n" if "query=fish" in arguments else " "
    print(separator.join(suggestions(words, arguments)))
    return 0


def suggestions(words: list[str], arguments: list[str]) -> list[str]:
    """Return the completions of the last of `words`, which follow the name of the program."""
    command = words[0] if len(words) > 1 and words[0] in COMMANDS else None
    word = words[-1]
    if command == "ls":
        return _starting(word, groups())
    if command == "validate":
        return _starting(word, [*groups(), *sweeps()])
    if len(words) == 2 and command == "data":
        return _starting(word, options("data"))
    if len(words) == 2 and command in ("sweep", "report"):
        return _starting(word, sweeps())
    first = _starting(word, COMMANDS) if len(words) == 1 else []
    known = [w for w in words[:-1] if w != command and w not in train.MULTIRUN]
    # of a sweep's comma-separated names, the last one is being typed
    group, _, values = word.partition("=")
    done, comma, last = values.rpartition(",")
    if group in groups() and comma:
        return [f"{group}={done},{name}" for name in _starting(last, options(group))]
    return first + _by_hydra([*known, word], arguments)


def _starting(word: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(word)]


def _by_hydra(words: list[str], arguments: list[str]) -> list[str]:
    os.environ["COMP_LINE"] = " ".join(["snnhll", *words])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        train.main(arguments)
    return [found for found in printed.getvalue().split() if not found.endswith(NOT_MEANT) and "=_" not in found]
