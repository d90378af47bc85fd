"""Peak memory of a run, in bytes: of the process on a CPU, of the allocator on a CUDA device; and what is said when
memory does not suffice."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from snnhll.errors import UserError

# torch has a class for this on CUDA devices alone; on a CPU, and for more than can be counted, only the text tells
_EXHAUSTED = re.compile(r"(?:tried|unable) to allocate ([\d.]+ \w+)|storage size calculation overflowed", re.IGNORECASE)
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def start_peak(device: torch.device) -> None:
    """Forget earlier peaks, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text("5")
        except OSError:
            return


def peak(device: torch.device) -> int:
    """Return the peak since `start_peak`, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def sufficing() -> Iterator[None]:
    """Raise UserError, with what to make smaller, where torch or numpy finds no memory for a tensor."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        found = _EXHAUSTED.search(str(error))
        if found is None and not isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise
        asked = f", {found[1]} asked for at once" if found and found[1] else ""
        raise UserError(
            f"Memory does not suffice{asked}; make trainer.batch_size, trainer.eval_batch_size, trainer.steps or "
            f"architecture.width smaller, or choose trainer.update=online, which keeps one time step."
        ) from error
