"""Flags of the commands that take them beside the overrides of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from snnhll.errors import UserError

CONFIG_DIR = ("-cd", "--config-dir")


def with_config_dirs(arguments: list[str]) -> list[str]:
    """Return `arguments` with the folders after --config-dir as one override, last.

    Everything that composes a configuration then finds the options in them, also in other processes.
    """
    others: list[str] = []
    folders: list[Path] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag in CONFIG_DIR:
            folders.append(_folder(flag, value if equals else next(rest, "")))
        else:
            others.append(argument)
    places = ",".join(f"'file://{folder}'" for folder in folders)
    return [*others, f"hydra.searchpath=[{places}]"] if folders else others


def _folder(flag: str, name: str) -> Path:
    if not name:
        raise UserError(f"{flag}: expected DIR after it.")
    if not Path(name).is_dir():
        raise UserError(f"{flag} {name}: no such folder.")
    return Path(name).resolve()


def is_override(word: str) -> bool:
    """Return whether a word is KEY=VALUE or ~KEY, rather than a file or a folder that is there."""
    return ("=" in word or word.startswith("~")) and not word.startswith("-") and not Path(word).exists()


def take_apart(command: str, arguments: list[str], known: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the words that are no flags, and the flags given with their values.

    known: what follows each flag, as in {"--out": "DIR", "--json": ""}. Raises UserError for any other flag, and for
    a value that is missing.
    """
    words: list[str] = []
    flags: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
        elif flag not in known or (equals and not known[flag]):
            names = [f"{name} {follows}".rstrip() for name, follows in known.items()]
            raise UserError(f"{word}: no such flag; snnhll {command} knows {' and '.join(names)}.")
        elif not known[flag]:
            flags[flag] = ""
        elif (equals and not value) or (not equals and not rest):
            raise UserError(f"{flag}: expected {known[flag]} after it.")
        else:
            flags[flag] = value if equals else rest.pop(0)
    return words, flags
