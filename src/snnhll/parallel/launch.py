"""Starting the processes of a run, or finding those that torchrun has started, and saying which of them died.

Where torchrun has started them, its environment says which one this is. Else this process leads, and
torch.multiprocessing starts the others.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from snnhll import checkpoint
from snnhll.allocator import tune
from snnhll.assemble import Parts, assemble, pick_device
from snnhll.config import Config, Settings, identity, settings
from snnhll.errors import UserError
from snnhll.parallel import replicas, stages
from snnhll.parallel.shared import SharedRule
from snnhll.parallel.team import PATIENCE, LostError, Team, by_torchrun, joined, own_device
from snnhll.results import run_path
from snnhll.rules.rule import Metrics, Rule
from snnhll.training import Progress, is_checked, seed_step

ARRIVED = "arrived"  # under this name processes that have started are counted
GRACE = 5.0  # seconds for a process to end by itself before it is stopped, or to show how it ended


def size(chosen: Settings) -> int:
    """Return of how many processes a run consists. Raises UserError where torchrun and the configuration disagree."""
    given = by_torchrun()
    if chosen.trainer.parallel == "none":
        if given is not None and given[1] > 1:
            raise UserError(
                f"trainer.parallel: none, but torchrun has started {given[1]} processes; choose data or layers."
            )
        return 1
    return given[1] if given else chosen.trainer.processes or max(2, torch.cuda.device_count())


def threads(chosen: Settings) -> int | None:
    """Return the CPU threads of each process, None for torch's own choice: a share of it where there are several."""
    if chosen.threads or chosen.trainer.parallel == "none" or "OMP_NUM_THREADS" in os.environ:
        return chosen.threads
    return max(1, torch.get_num_threads() // size(chosen))


def check(parts: Parts, chosen: Settings) -> None:
    """Raise UserError for what cannot be learned in the way `chosen` says."""
    count = size(chosen)
    if chosen.trainer.parallel == "layers":
        stages.check(parts.rule, count)
    elif chosen.trainer.parallel == "data":
        replicas.check(parts, count)


def followed(config: Config) -> bool:
    """Take part in a run, where torchrun has started this process to follow another; return whether that was so."""
    given = by_torchrun()
    if given is None or given[0] == 0:
        return False
    follow(given[0], size(settings(config)), None, config)
    return True


@contextmanager
def leading(parts: Parts, config: Config, chosen: Settings) -> Iterator[Rule]:
    """Give the rule to train, with the other processes of the run at work behind it; the plain rule without any."""
    if chosen.trainer.parallel == "none":
        yield parts.rule
        return
    total, device = size(chosen), parts.data.device
    with joined(0, total, device) if by_torchrun() else started(total, device, follow, config) as team:
        rule = share(parts, chosen, team)
        yield rule
        rule.release()


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
        raise UserError(_fate(others)) from error
    finally:
        _stop(others)


def _await(others: list[BaseProcess], store: dist.TCPStore) -> None:
    """Wait until all other processes are there, so that one that dies on the way is not waited for."""
    while store.add(ARRIVED, 0) < len(others):
        if any(process.exitcode is not None for process in others):
            raise LostError("a process ended while it started")
        time.sleep(0.05)


def _fate(others: list[BaseProcess]) -> str:
    """Return what became of the process that ended first, in one line. Waits a little until one has ended."""
    until = time.monotonic() + GRACE
    while all(process.exitcode is None for process in others) and time.monotonic() < until:
        time.sleep(0.05)
    codes = [(process.exitcode, number) for number, process in enumerate(others, 2) if process.exitcode is not None]
    code, number = min(codes, default=(None, 0))  # one that was killed has a negative code; others end because of it
    if code is None:
        return (
            f"a process of the run did not answer for {PATIENCE}; the same command continues from the last checkpoint."
        )
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
    """Be process `index` + 1 of those that `started` starts."""
    leader = os.getppid()
    try:
        store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
        store.add(ARRIVED, 1)
        work(index + 1, total, store, *given)
    except (LostError, KeyboardInterrupt) as error:
        if os.getppid() != leader:  # else the leader says what happened
            print(f"snnhll: {error or 'the leading process has ended'}", file=sys.stderr)
        sys.exit(1)


def follow(rank: int, total: int, store: dist.Store | None, config: Config) -> None:
    """Take part in a run as process `rank`, from its last checkpoint to the end of its training."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning {message}", file=sys.stderr)
    chosen = settings(config)
    chosen = replace(chosen, device=own_device(chosen.device, int(os.environ.get("LOCAL_RANK", rank))))
    tune(chosen.trainer.update)
    if count := threads(chosen):
        torch.set_num_threads(count)
    device = pick_device(chosen.device)
    with joined(rank, total, device, store) as team:  # first: the leader is there when its configuration is in order
        parts = assemble(config, chosen)
        rule = share(parts, chosen, team)
        stored = checkpoint.load(run_path(config) / "checkpoint.pt", identity(config), device)
        progress = Progress() if stored is None else Progress(**stored["progress"])
        if stored is not None:
            rule.restore(stored["rule"])
        _work(rule, parts, chosen, progress)


def _work(rule: SharedRule, parts: Parts, chosen: Settings, progress: Progress) -> None:
    """Take the steps of the training loop: all that concerns a process that does not lead."""
    data, epochs = parts.data, chosen.trainer.epochs
    for epoch in range(progress.epoch, epochs):
        rule.scale_learning_rate(parts.schedule.factor(epoch, epochs))
        rule.train()
        pending: list[Metrics] = []
        first = progress.step if epoch == progress.epoch else 0
        for step, (images, labels) in enumerate(rule.batches(data.train_batches(epoch, first)), first):
            seed_step(chosen.seed, epoch, step)
            pending.append(rule.step(images, labels))
            if is_checked(step + 1, data.steps_per_epoch):
                rule.gathered(pending)
                pending.clear()
                rule.wait()


def share(parts: Parts, chosen: Settings, team: Team) -> SharedRule:
    """Return the rule as this process has a part of it."""
    if chosen.trainer.parallel == "data":
        return replicas.ReplicaRule(parts.rule, team, chosen.trainer.gather)
    rule = stages.check(parts.rule, team.size)
    way = None
    if team.rank == 0:
        images, labels = next(parts.data.train_batches(0))
        way = stages.cut(stages.measure(rule, images, labels, team.carrier.type == "cpu"), team.size)
    return stages.StagedRule(rule, team, team.told(way))
