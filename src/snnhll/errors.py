"""The one exception that stands for a user's mistake, and the nearest-name hint its messages carry."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend. The command line prints its message on one line and exits with code 2."""


class DivergedError(UserError):
    """A loss became NaN or infinite: the message names layer, loss and step."""


def nearest(name: str, options: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the option closest to `name`, or the list of options when none is close."""
    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(known)}." if known else ""
