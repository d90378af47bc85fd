"""Layers as pipeline stages: what each part of a network costs, and how fast stages are beside one process.

A step of the pipeline takes as long as its slowest stage. That is modelled from the costs of the parts, measured one
after another in a single process, and measured with a process a stage, which is fair where each has a core.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from typing import Any

import torch
import torch.distributed as dist
from rich.table import Table
from torch import Tensor

from snnhll.bench import ours
from snnhll.bench.contest import Measurement
from snnhll.bench.rounds import Runner
from snnhll.bench.works import CLASSES
from snnhll.parallel.launch import started
from snnhll.parallel.stages import Costs, StagedRule, check, cut, measure
from snnhll.parallel.team import Team, joined
from snnhll.rules.rule import Rule
from snnhll.training import CHECK_EVERY

CPU = torch.device("cpu")
WARM_UP = 3


@dataclass(frozen=True)
class Found:
    """costs: of the parts in one process. parts: those of every stage. one, staged: samples a second of one process and
    of the stages, one value a round; empty where it was not measured."""

    measurement: Measurement
    costs: Costs
    parts: list[range]
    one: list[float]
    staged: list[float]

    @property
    def modelled(self) -> float:
        """How many times faster than one process the slowest stage lets the pipeline be."""
        return sum(self.costs.learn) / max(map(self.costs.of, self.parts))

    @property
    def measured(self) -> float | None:
        """How many times faster than one process the stages were: ratio of medians."""
        return statistics.median(self.staged) / statistics.median(self.one) if self.staged else None

    def contract(self) -> dict[str, Any]:
        """Return what `--json` prints. Parts are counted from 1, the readout last."""
        m = self.measurement
        return {
            "work": m.work.name,
            "setting": m.setting,
            "T": m.T,
            "batch": m.batch,
            "stages": [[part + 1 for part in parts] for parts in self.parts],
            "stage_seconds": [self.costs.of(parts) for parts in self.parts],
            **{f"{kind}_seconds": times for kind, times in asdict(self.costs).items()},
            "modelled_speedup": self.modelled,
            "samples_per_second": {"one": self.one, "staged": self.staged},
            "measured_speedup": self.measured,
        }


def compare(m: Measurement, stages: int, rounds: int, run: Runner, report: Callable[[str], None]) -> Found:
    """Measure the costs, and `rounds` times the speed of one process and then of the stages."""
    m = replace(m, steps=m.steps or CHECK_EVERY)
    costs = Costs(**run(m.request() | {"kind": "costs", "stages": stages}))
    parts = cut(costs, stages)
    ways: dict[str, list[float]] = {"one process": [], f"{stages} stages": []}
    for number in range(1, rounds + 1):
        for name, speeds in ways.items():
            asked = [(p.start, p.stop) for p in parts] if name != "one process" else []
            speeds.append(run(m.request() | {"kind": "pipeline", "parts": asked})["samples_per_second"])
            report(f"round {number}/{rounds}  {m.work.name}  {m.setting}: {name} {speeds[-1]:.4g} samples/s")
    return Found(m, costs, parts, *ways.values())


def measure_costs(m: Measurement, stages: int) -> dict[str, list[float]]:
    """Return what every part costs, in seconds a batch. Raises UserError for layers that cannot be stages."""
    rule = check(ours.build(m.work, m.setting, m.T), stages)
    return asdict(measure(rule, *_batch(m), packed=True))


def measure_speed(m: Measurement, parts: list[range]) -> float:
    """Return samples a second over `m.steps` steps: in one process a stage, or in this one without any parts."""
    if not parts:
        return _speed(ours.build(m.work, m.setting, m.T).train(), m)
    with started(len(parts), CPU, _take_part, m, parts, torch.get_num_threads()) as team:
        rule = _stage(m, team, parts)
        found = _speed(rule, m)
        rule.release()
    return found


def _take_part(rank: int, total: int, store: dist.Store, m: Measurement, parts: list[range], threads: int) -> None:
    """Be a stage that does not lead."""
    ours.tune_allocator(m.setting)
    torch.set_num_threads(threads)
    with joined(rank, total, CPU, store) as team:
        rule = _stage(m, team, parts)
        for count in (WARM_UP, m.steps):
            _take(rule, m, count)
            rule.wait()


def _stage(m: Measurement, team: Team, parts: list[range]) -> StagedRule:
    rule = check(ours.build(m.work, m.setting, m.T), team.size)
    return StagedRule(rule.train(), team, parts)


def _speed(rule: Rule, m: Measurement) -> float:
    _take(rule, m, WARM_UP)
    began = time.perf_counter()
    _take(rule, m, m.steps)
    return m.batch * (m.steps or 0) / (time.perf_counter() - began)


def _take(rule: Rule, m: Measurement, steps: int | None) -> None:
    """Take steps on one batch, to the end of what every process does for them."""
    batches = repeat(_batch(m), steps or 0)
    ahead = rule.batches(batches) if isinstance(rule, StagedRule) else batches
    rule.gathered([rule.step(*batch) for batch in ahead])


def _batch(m: Measurement) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(m.batch, *m.work.shape), torch.randint(0, CLASSES, (m.batch,))


def table(found: Found) -> Table:
    """Return one line a stage: its parts, and the seconds of a batch that it takes for receiving, learning, sending."""
    m, costs = found.measurement, found.costs
    title = f"[bold]{m.work.name}[/]  {m.setting}, T {m.T}, batch {m.batch}"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("stage", "layers"):
        shown.add_column(heading)
    for heading in ("learn ms", "receive ms", "send ms", "together ms"):
        shown.add_column(heading, justify="right")
    names = [*(str(i + 1) for i in range(len(costs.write))), "readout"]
    for number, parts in enumerate(found.parts, 1):
        learn, whole = sum(costs.learn[parts.start : parts.stop]), costs.of(parts)
        receive = costs.read[parts.start - 1] if parts.start else 0.0
        times = (learn, receive, whole - learn - receive, whole)
        shown.add_row(str(number), " ".join(names[part] for part in parts), *(f"{1e3 * t:.2f}" for t in times))
    return shown


def summary(found: Found) -> str:
    """Return the modelled and the measured speed-up in words, with what they come from."""
    slowest, serial = max(map(found.costs.of, found.parts)), sum(found.costs.learn)
    line = (
        f"model: one process {1e3 * serial:.1f} ms a step, slowest of {len(found.parts)} stages "
        f"{1e3 * slowest:.1f} ms: {found.modelled:.2f} times as fast"
    )
    if found.measured is None:
        return line
    one, staged = statistics.median(found.one), statistics.median(found.staged)
    return f"{line}\nmeasured: {one:.4g} and {staged:.4g} samples/s: {found.measured:.2f} times as fast"
