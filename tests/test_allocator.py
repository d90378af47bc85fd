"""What becomes of freed memory, seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the allocator is set where the C library is glibc")

PROGRAM = """
import sys
from pathlib import Path
from snnhll.allocator import release, tune
tune(sys.argv[1])
import torch

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before = resident()
blocks = [torch.ones(2**22) for _ in range(4)]
full = resident()
del blocks
left = resident() - before
release()
print(full - before, left, resident() - before)
"""


@pytest.mark.parametrize(("update", "kept"), [("rate", True), ("final", False), ("accumulate", False)])
def test_freed_memory_stays_or_is_returned_until_it_is_released(update: str, kept: bool) -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, update], capture_output=True, text=True, check=True)
    filled, left, released = map(int, ran.stdout.split())
    assert filled >= 64 * 2**20
    assert left >= 64 * 2**20 if kept else left < 16 * 2**20
    assert released < 16 * 2**20
