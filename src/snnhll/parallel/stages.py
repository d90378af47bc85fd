"""Layers as pipeline stages: while the second stage learns batch n, the first learns batch n + 1.

Backpropagation through a pipeline waits: a stage may not change before the gradient of a batch has come back through
all later ones. Under local losses nothing comes back. A stage receives spikes, learns, sends spikes on and takes the
next batch, so that a step takes as long as the slowest stage. Every process reads the data itself: images and labels do
not travel. The numbers are those of one process, bit for bit.
"""

from __future__ import annotations

import copy
import io
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import Tensor, nn

from snnhll.data.pipeline import Batch
from snnhll.errors import UserError
from snnhll.networks.rates import Signal
from snnhll.parallel.shared import SharedRule, Table
from snnhll.parallel.team import Team
from snnhll.parallel.wire import AHEAD, Format, Inbox, Outbox
from snnhll.rules.local import LocalRule
from snnhll.rules.rule import Metrics, Rule
from snnhll.rules.three_factor import ThreeFactorRule

RULES = (LocalRule, ThreeFactorRule)  # these alone: a rule derived from one may need more than its neighbour's signal
ROUNDS = 3  # of measuring costs; the first loads and compiles code


@dataclass(frozen=True)
class Costs:
    """Seconds a batch of every part: the layers and, last, the readout. write, read: the signal behind each layer."""

    learn: list[float]
    write: list[float]
    read: list[float]

    def of(self, parts: range) -> float:
        """Return the seconds a stage of these parts takes for a batch."""
        receives = self.read[parts.start - 1] if parts.start > 0 else 0.0
        sends = self.write[parts.stop - 1] if parts.stop < len(self.learn) else 0.0
        return receives + sum(self.learn[parts.start : parts.stop]) + sends


def check(rule: Rule, stages: int) -> LocalRule:
    """Return `rule` if its layers can be stages. Raises UserError for another."""
    if not isinstance(rule, LocalRule) or type(rule) not in RULES:
        raise UserError(
            f"trainer.parallel: {type(rule).__name__} is not laid out in stages; layers needs rule=local or "
            f"three_factor, where no layer waits for a later one."
        )
    if rule.update == "online":
        raise UserError(
            "trainer.update: online takes every time step through all layers before the next one, so that stages would "
            "wait for each other; use accumulate, final or rate."
        )
    parts = len(rule.optimizers)
    if not 2 <= stages <= parts:
        raise UserError(
            f"trainer.processes: {stages} stages for {parts} parts, the layers and the readout; expected 2 to {parts}."
        )
    return rule


def cut(costs: Costs, stages: int) -> list[range]:
    """Return the parts of every stage: runs of neighbours, such that the slowest stage is as quick as can be."""
    parts = len(costs.learn)
    cuts = ([0, *inner, parts] for inner in combinations(range(1, parts), stages - 1))
    ways = ([range(first, end) for first, end in pairwise(edges)] for edges in cuts)
    return min(ways, key=lambda way: max(map(costs.of, way)))


def measure(rule: LocalRule, images: Tensor, labels: Tensor, packed: bool) -> Costs:
    """Return what every part of `rule` costs for a batch, measured on a copy; `rule` stays as it is."""
    trial = copy.deepcopy(rule).train()
    rounds = [_measure(trial, images, labels, packed) for _ in range(ROUNDS)]
    best = ([min(times) for times in zip(*kind, strict=True)] for kind in zip(*rounds, strict=True))
    return Costs(*best)


def _measure(rule: LocalRule, images: Tensor, labels: Tensor, packed: bool) -> tuple[list[float], ...]:
    learn, write, read = [], [], []
    watch = _Watch(images.device)
    targets, signal = rule.prepare(images, labels), Signal(rule.network.encode(images))
    for unit in rule.units:
        signal = rule.learn_layer(unit, signal, targets, {})
        learn.append(watch.lap())
        form = Format.of(unit.block, rule.network.steps, rule.network.precision, packed)
        written = form.write(signal.spikes)
        write.append(watch.lap())
        signal = form.read(written, len(labels), images.device)
        read.append(watch.lap())
    rule.learn_readout(signal, labels)
    learn.append(watch.lap())
    return learn, write, read


class _Watch:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap, all work on the device done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        before, self.last = self.last, time.perf_counter()
        return self.last - before


class StagedRule(SharedRule):
    """One stage of `inner`, a rule that `check` accepts. parts: those of every stage, as `cut` returns them."""

    inner: LocalRule

    def __init__(self, inner: LocalRule, team: Team, parts: list[range]) -> None:
        super().__init__(inner, team)
        self.parts, self.own, last = parts, parts[team.rank], team.rank == team.size - 1
        self.units = inner.units[self.own.start : self.own.stop]
        device = inner.network.mean.device
        self.inbox = None if team.rank == 0 else Inbox(team, self._format(self.own.start), team.rank - 1, device)
        self.outbox = None if last else Outbox(team, self._format(self.own.stop), team.rank + 1, device)

    def _format(self, before: int) -> Format:
        """Return the format of the signal that part `before` receives."""
        network = self.inner.network
        packed = self.team.carrier.type == "cpu"
        return Format.of(network.blocks[before - 1], network.steps, network.precision, packed)

    def batches(self, source: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, having offered memory for the signals of the next ones."""
        if self.inbox is None:
            yield from source
            return
        ahead: deque[Batch] = deque()
        for batch in source:
            self.inbox.expect(len(batch[1]))
            ahead.append(batch)
            if len(ahead) > AHEAD:
                yield ahead.popleft()
        yield from ahead

    def learn(self, images: Tensor, labels: Tensor) -> Metrics:
        rule, metrics = self.inner, Metrics()
        targets = rule.prepare(images, labels)
        signal = Signal(rule.network.encode(images)) if self.inbox is None else self.inbox.take()
        for unit in self.units:
            signal = rule.learn_layer(unit, signal, targets, metrics)
        if self.outbox is None:
            return metrics | rule.learn_readout(signal, labels)
        self.outbox.send(signal)
        return metrics

    def merged(self, tables: list[Table]) -> Table:
        return {name: values for table in tables for name, values in table.items()}

    def learned(self) -> bytes:
        states = [
            {"module": self._module(part).state_dict(), "optimizer": self.optimizers[part].state_dict()}
            for part in self.own
        ]
        written = io.BytesIO()
        torch.save(states, written)
        return written.getvalue()

    def take_over(self, states: list[bytes]) -> None:
        here = self.network.mean.device
        for stage, state in enumerate(states):
            if stage == self.team.rank:
                continue
            learned = torch.load(io.BytesIO(state), map_location=here, weights_only=True)
            for part, found in zip(self.parts[stage], learned, strict=True):
                self._module(part).load_state_dict(found["module"])
                self.optimizers[part].load_state_dict(found["optimizer"])

    def _module(self, part: int) -> nn.Module:
        """Return everything of a part that learns or counts: weights, statistics, heads."""
        if part == len(self.inner.units):
            return self.inner.network.readout
        unit = self.inner.units[part]
        return nn.ModuleList([unit.block, unit.loss])
