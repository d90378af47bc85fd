"""What the processes of these tests do; those that do not lead import it from here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from snnhll.assemble import Problem, build_rule
from snnhll.config import Config, compose, settings
from snnhll.parallel.replicas import ReplicaRule
from snnhll.parallel.shared import SharedRule
from snnhll.parallel.stages import StagedRule
from snnhll.parallel.team import Team, joined
from snnhll.rules.local import LocalRule
from snnhll.rules.rule import Metrics, Rule

CPU = torch.device("cpu")
PROBLEM = Problem((1, 8, 8), 4, [0.5], [0.25])
COUNT, STEPS = 7, 2  # samples of a batch: an odd number, so that two shares differ; batches


@cache
def composed(overrides: tuple[str, ...]) -> Config:
    return compose(["trainer.steps=4", "tracking=none", *overrides])


@dataclass(frozen=True)
class Case:
    """One network to learn. parts: of every stage; none for shares of every batch."""

    name: str
    config: Config  # composed once: it takes longer than all else
    parts: tuple[tuple[int, int], ...] = ()
    double: bool = False
    gather: bool = True

    @staticmethod
    def of(*overrides: str, update: str = "accumulate", **kwargs: Any) -> Case:
        config = composed(overrides)
        trainer = config["trainer"] | {"update": update}
        return Case(" ".join((*overrides, update)), config | {"trainer": trainer}, **kwargs)

    def rule(self) -> Rule:
        """The rule, the same in every process."""
        torch.manual_seed(0)
        rule = build_rule(self.config, settings(self.config), PROBLEM)
        if self.double:
            rule = rule.double()
            rule.network.precision = torch.float64
        return rule.train()

    def shared(self, team: Team) -> SharedRule:
        """This process's part of the rule."""
        rule = self.rule()
        if not self.parts:
            return ReplicaRule(rule, team, self.gather)
        assert isinstance(rule, LocalRule)
        return StagedRule(rule, team, [range(*ends) for ends in self.parts])

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Batches of different sizes, as the last of an epoch is."""
        draw = torch.Generator().manual_seed(1)
        dtype = torch.float64 if self.double else torch.float32
        return [
            (torch.rand(size, *PROBLEM.shape, generator=draw, dtype=dtype), torch.arange(size) % PROBLEM.classes)
            for size in (*[COUNT + 1] * (STEPS - 1), COUNT)
        ]


@dataclass(frozen=True)
class Learned:
    """What came out: the metrics of every step, and the checkpoint."""

    metrics: list[Metrics]
    checkpoint: dict[str, Any]


def alone(case: Case) -> Learned:
    """Learn a case in this process."""
    rule = case.rule()
    metrics = []
    for step, batch in enumerate(case.batches()):
        torch.manual_seed(step)
        metrics.append(rule.step(*batch))
    return Learned(metrics, rule.checkpoint())


def together(case: Case, team: Team) -> Learned | None:
    """Learn a case with the team; what came out is the leader's to know."""
    rule = case.shared(team)
    metrics = []
    for step, batch in enumerate(rule.batches(case.batches())):
        torch.manual_seed(step)
        metrics.append(rule.step(*batch))
    gathered = rule.gathered(metrics)
    if team.rank > 0:
        rule.wait()
        return None
    found = Learned(gathered, rule.checkpoint())
    rule.release()
    return found


def work(rank: int, total: int, store: dist.Store, cases: list[Case]) -> None:
    """Be a process that does not lead."""
    torch.set_num_threads(1)
    with joined(rank, total, CPU, store) as team:
        for case in cases:
            together(case, team)


def flat(state: Any) -> list[Any]:
    """Every number and tensor of a nested state, in order."""
    if isinstance(state, dict):
        return [value for key in state for value in flat(state[key])]
    if isinstance(state, list | tuple):
        return [value for part in state for value in flat(part)]
    return [state]
