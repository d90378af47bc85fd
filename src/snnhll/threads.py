"""CPU threads of torch for one piece of work: what a run asks for ends with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def using(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads, or as many as it does where None; afterwards as many as before."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
