"""One run in as many processes as its configuration or torchrun says, and what those of them do that do not lead.

Where torchrun has started them, its environment says which one this is. Else this process leads, and
torch.multiprocessing starts the others.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.distributed as dist

from snnhll import checkpoint
from snnhll.allocator import tune
from snnhll.assemble import Parts, assemble, pick_device
from snnhll.config import Config, Settings, identity, settings
from snnhll.errors import UserError
from snnhll.parallel import replicas, stages
from snnhll.parallel.launch import started
from snnhll.parallel.shared import SharedRule
from snnhll.parallel.team import Team, by_torchrun, joined, own_device
from snnhll.results import run_path
from snnhll.rules.rule import Metrics, Rule
from snnhll.training import Progress, is_checked, seed_step


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
    if count > 1 and chosen.trainer.cuda_graphs:
        raise UserError("trainer.cuda_graphs: steps that processes share cannot be recorded; set it to false.")
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


def follow(rank: int, total: int, store: dist.Store | None, config: Config) -> None:
    """Take part in a run as process `rank`, from its last checkpoint to the end of its training."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning {message}", file=sys.stderr)
    chosen = settings(config)
    if chosen.trainer.parallel == "data":
        warnings.simplefilter("ignore")  # the leader has the same to say
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
                rule.network.encoding.check()
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
