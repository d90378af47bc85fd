"""Starting the processes of a run on this machine, and saying which of them died."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from snnhll.errors import UserError
from snnhll.parallel.team import PATIENCE, LostError, Team, joined

ARRIVED = "arrived"  # under this name processes that have started are counted
GRACE = 5.0  # seconds for a process to end by itself before it is stopped, or to show how it ended


@contextmanager
def started(total: int, device: torch.device, work: Callable[..., None], *given: Any) -> Iterator[Team]:
    """Start processes that do `work(rank, total, store, *given)`, and give the team that this process leads.

    Raises UserError when one of them dies, and leaves none of them behind.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    others = multiprocessing.start_processes(
        _start, (total, store.port, work, *given), nprocs=total - 1, join=False, start_method="spawn"
    ).processes
    try:
        _await(others, store)
        with joined(0, total, device, store) as team:
            yield team
        for process in others:
            process.join(GRACE)
    except LostError as error:
        raise UserError(_fate(others) or str(error)) from error
    finally:
        _stop(others)


def _await(others: list[BaseProcess], store: dist.TCPStore) -> None:
    """Wait until all other processes are there, so that one that dies on the way is not waited for."""
    while store.add(ARRIVED, 0) < len(others):
        if any(process.exitcode is not None for process in others):
            raise LostError("a process ended while it started")
        time.sleep(0.05)


def _fate(others: list[BaseProcess]) -> str | None:
    """Return how the process ended that others ended because of, None when all live. Waits a little for one to end."""
    until = time.monotonic() + GRACE
    while all(process.exitcode is None for process in others) and time.monotonic() < until:
        time.sleep(0.05)
    codes = [(code, number) for number, process in enumerate(others, 2) if (code := process.exitcode) is not None]
    if not codes:
        return None
    code, number = min(codes)  # one that was killed has a negative code
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"process {number} of {len(others) + 1} {how}; the same command continues from the last checkpoint."


def _stop(others: list[BaseProcess]) -> None:
    for process in others:
        if process.is_alive():
            process.terminate()
    for process in others:
        process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()


def _start(index: int, total: int, port: int, work: Callable[..., None], *given: Any) -> None:
    """Be process `index` + 1 of those that `started` starts; say why it ends, where no one else will."""
    leader = os.getppid()
    try:
        store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
        store.add(ARRIVED, 1)
        work(index + 1, total, store, *given)
    except (LostError, KeyboardInterrupt) as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # torch sends it when the leader dies; one end is enough
        if _outlived(leader):  # else it says what happened
            print(f"snnhll: {error or 'the leading process has ended'}", file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        print(f"snnhll: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def _outlived(leader: int) -> bool:
    """Return whether the leading process is gone; its connections close a little before it is."""
    until = time.monotonic() + 1.0
    while os.getppid() == leader and time.monotonic() < until:
        time.sleep(0.02)
    return os.getppid() != leader
