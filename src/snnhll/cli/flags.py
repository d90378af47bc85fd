"""Flags of the commands that take them beside the overrides of a configuration."""

from __future__ import annotations

from collections.abc import Mapping

from snnhll.errors import UserError


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
