"""The C library's memory allocator, set to what a run needs most: speed, or a peak that is that of one layer.

By default glibc maps every large block anew and returns it when freed, so each training step pays page faults for
tensors of the same sizes as those of the step before; on one machine they took a quarter of a step. Kept memory is
reused without them. But a block that torch aligns seldom fits the hole another of its size has left, so what is kept
grows with the number of layers: little where a layer keeps few large tensors (update mode rate), to twice the need
where it keeps a graph through time. There, large blocks are returned at once, and mapped in huge pages, which costs
a five-hundredth of the faults.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4  # malloc.h
PAD = 64 * 2**20  # bytes asked of the system beyond what is needed, so that growing is rare
LARGE = 4 * 2**20  # bytes from which a block is returned


def tune(update: str) -> None:
    """Set the allocator of this process for an update mode. Does nothing where the C library is not glibc.

    Torch reads whether to use huge pages once, at its first tensor: a process that has made one keeps small pages.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return
    if update == "rate":
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, PAD)
    else:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        mallopt(M_MMAP_MAX, 65536)  # glibc's own value, after a run in mode rate
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, PAD)  # naming the threshold above ends glibc's adapting this one, to little


def release() -> None:
    """Give the memory of what is no longer used back to the system. Does nothing where the C library is not glibc."""
    gc.collect()
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def _of_glibc(function: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), function, None) if sys.platform.startswith("linux") else None
