"""The processes of one run: which of them this is, and what they tell each other beside the work itself.

Process 0 leads: it alone runs the training loop, evaluates and writes. The others follow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from snnhll.errors import UserError

PATIENCE = timedelta(minutes=30)  # for a process that lives and says nothing; a dead one is noticed at once


class LostError(UserError):
    """Another process of the run ended, or fell silent."""


@dataclass(frozen=True)
class Team:
    """The processes of a run. rank: this one's number; size: how many there are. carrier: where tensors travel from."""

    rank: int
    size: int
    carrier: torch.device

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order, to the leader; [] to the others."""
        values: list[Any] | None = [None] * self.size if self.rank == 0 else None
        with talking(self):
            dist.gather_object(value, values)
        return values or []

    def told(self, value: Any = None) -> Any:
        """Return the leader's value to every process."""
        box = [value]
        with talking(self):
            dist.broadcast_object_list(box)
        return box[0]

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of x over all processes to each of them; x is overwritten."""
        with talking(self):
            dist.all_reduce(x)
        return x


@contextmanager
def talking(team: Team) -> Iterator[None]:
    """Turn what torch raises when another process does not answer into LostError."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] ", "", " ".join(str(error).split())).split(". ")[0]  # without the line in C++
        raise LostError(
            f"process {team.rank + 1} of {team.size} lost another process of the run ({reason}); "
            f"the same command continues from the last checkpoint."
        ) from error


@contextmanager
def joined(rank: int, size: int, device: torch.device, store: dist.Store | None = None) -> Iterator[Team]:
    """Join the processes of the run, as `rank` of `size`, until the end of the context.

    device: where this process computes. store: where they meet; None: where torchrun says.
    """
    direct = device.type == "cuda" and size <= torch.cuda.device_count()
    backend = "cpu:gloo,cuda:nccl" if direct else "gloo"
    if direct:
        torch.cuda.set_device(device)  # where NCCL looks for it
    team = Team(rank, size, device if direct else torch.device("cpu"))
    with talking(team):
        dist.init_process_group(backend, rank=rank, world_size=size, store=store, timeout=PATIENCE)
    try:
        yield team
    finally:
        dist.destroy_process_group()


def by_torchrun() -> tuple[int, int] | None:
    """Return the number of this process and how many there are, where torchrun has started it; else None."""
    if not dist.is_torchelastic_launched():
        return None
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def own_device(name: str, rank: int) -> str:
    """Return the device of process `rank` of a machine, where the configuration says `name`: one GPU each, in turn."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{rank % torch.cuda.device_count()}"
    return name
