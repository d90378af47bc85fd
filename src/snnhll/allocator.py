"""The C library's memory allocator, told to keep what it has.

By default glibc maps every large block anew and returns it when freed, so each training step pays page faults for
tensors of the same sizes as those of the step before; on one machine they took a quarter of a step.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
PAD = 64 * 2**20  # bytes asked of the system beyond what is needed, so that growing is rare


def keep_memory() -> None:
    """Have freed memory stay with the process. Does nothing where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, PAD)
