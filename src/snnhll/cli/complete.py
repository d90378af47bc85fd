"""Tab completion: Hydra's own, and what Hydra does not know of: sub-commands and their flags, sweeps, folders.

The shell calls `snnhll -sc query=SHELL` with the line typed so far in COMP_LINE.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

from snnhll.bench.works import WORKS
from snnhll.cli import train
from snnhll.cli.commands import COMMANDS, COMPOSE_NOTHING
from snnhll.cli.eval import CHANGEABLE
from snnhll.cli.flags import CONFIG_DIR, with_config_dirs
from snnhll.cli.plot import PAGES
from snnhll.config import groups, options, take_own
from snnhll.errors import UserError
from snnhll.sweeps.definition import names as sweeps

NOT_MEANT = ("._target_=", ".name=")  # keys that options set, not users
TAKE_NO_KEYS = ("ls", "validate", *COMPOSE_NOTHING)
HOLD_PATHS = ("data.root", "output_dir")


def main(arguments: list[str]) -> int:
    """Print what the last word of COMP_LINE may become, as the shell asks for it; nothing where the line has a mistake,
    since whatever is said lands on the prompt."""
    _, *words = os.environ["COMP_LINE"].split(" ")
    found: list[str] = []
    with contextlib.suppress(UserError), contextlib.redirect_stderr(io.StringIO()):
        found = suggestions([*filter(None, words[:-1]), words[-1]], arguments)
    print(("\n" if "query=fish" in arguments else " ").join(found))
    return 0


def suggestions(words: list[str], arguments: list[str]) -> list[str]:
    """Return the completions of the last of `words`, which follow the name of the program."""
    command = words[0] if len(words) > 1 and words[0] in COMMANDS else "train"
    *before, word = words
    flags = _flags(command)
    if word.startswith("-"):
        return _starting(word, flags)
    if before and flags.get(before[-1]):
        return []  # the value of a flag: the shell completes files
    own, given = take_own(with_config_dirs([w for w in before if w != command]))
    subjects = _starting(word, _subjects(command, own)) + (_places(word) if _takes_paths(command) else [])
    if command in TAKE_NO_KEYS or (subjects and command != "plot" and (word or len(words) == 2)):
        return subjects  # before keys, of which there are many
    first = _starting(word, COMMANDS) if len(words) == 1 else subjects
    known = [_first_value(w) for w in given if "=" in w and not w.startswith("-")]
    found = _values(word, own) if "=" in word else None
    return first + _read_by(command, _by_hydra([*own, *known, word], arguments) if found is None else found)


def _starting(word: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(word)]


def _flags(command: str) -> dict[str, str]:
    """Return the flags of a command, and what follows each."""
    flags = getattr(importlib.import_module(f"snnhll.cli.{command}"), "FLAGS", {})
    return {**flags, **({} if command in COMPOSE_NOTHING else dict.fromkeys(CONFIG_DIR, "DIR"))}


def _subjects(command: str, own: list[str]) -> list[str]:
    """Return the names that a command takes beside flags and overrides."""
    if command == "ls":
        return groups()
    if command == "validate":
        return [*groups(), *sweeps()]
    if command == "data":
        return options("data", own)
    if command == "plot":
        return [*PAGES]
    if command == "bench":
        return [*WORKS]
    return sweeps() if command in ("sweep", "report") else []


def _takes_paths(command: str) -> bool:
    return command in ("eval", "export", "report", "sweep", "validate")


def _places(word: str) -> list[str]:
    """Return the files and folders that `word` may become, folders with a slash after them."""
    return sorted(f"{path}/" if Path(path).is_dir() else path for path in glob.glob(f"{glob.escape(word)}*"))


def _values(word: str, own: list[str]) -> list[str] | None:
    """Return the completions of KEY=VALUE where a value is an option or a path, None for keys that Hydra completes."""
    key, _, values = word.partition("=")
    done, comma, last = values.rpartition(",")  # of a sweep's comma-separated values, the last one is being typed
    if key in groups():
        return [f"{key}={done}{comma}{name}" for name in _starting(last, options(key, own))]
    return [f"{key}={place}" for place in _places(values)] if key in HOLD_PATHS else None


def _first_value(override: str) -> str:
    """Return an override as the first job of a sweep has it."""
    return override if "[" in override else override.partition(",")[0]


def _by_hydra(words: list[str], arguments: list[str]) -> list[str]:
    os.environ["COMP_LINE"] = " ".join(["snnhll", *words])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        train.main(arguments)
    return [found for found in printed.getvalue().split() if not found.endswith(NOT_MEANT) and "=_" not in found]


def _read_by(command: str, found: list[str]) -> list[str]:
    """Return the completions that a command reads: of a trained run, eval changes few keys."""
    if command != "eval":
        return found
    return [key for key in found if any(key.startswith(may) or may.startswith(key) for may in CHANGEABLE)]
