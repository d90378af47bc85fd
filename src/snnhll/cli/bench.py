"""snnhll bench [mlp|conv|vgg8 ...] [options]   training speed and peak memory, ours beside other frameworks'

Every measurement runs in a fresh process, in interleaved rounds; medians are reported. Without a network: mlp and conv.

  --against NAME[,NAME]   spikingjelly, snntorch, norse (pip install 'snnhll[bench]'); spikes are compared first
  --T N[,N]               time steps (10)
  --batch N[,N]           images a step (64)
  --precision P[,P]       fp32, bf16: every setting in these precisions (default: a short list)
  --setting NAME ...      only these, for instance "pred_sim rate bf16" "bptt fp32" default "bf16 channels_last"
  --rounds N              rounds (3)
  --steps N               timed steps a measurement (default: as many as fill a second, at least 3)
  --threads N             CPU threads (default: as many as there are cores)
  --stages N              instead: one process beside N pipeline stages of --threads each (docs/parallel.md), for every
                          --setting (default: pred_sim rate fp32); --rounds 0 only models them from the layers' times
  --scaling               instead: how speed and memory of the first network grow with T, batch, width and depth
  --json                  print a list of {work, framework, setting, T, batch, samples_per_second,
                          peak_memory_bytes, rounds}; with --stages also the time of every layer and stage

  snnhll bench mlp conv --against spikingjelly,snntorch,norse
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from itertools import product
from typing import Any, NoReturn

from rich.console import Console

from snnhll.bench import contest, tables
from snnhll.bench.contest import OURS, PEER_SETTINGS, PEERS, PRECISIONS, Measurement
from snnhll.bench.rounds import Row, Runner, WorkerError, in_fresh_process, interleave
from snnhll.bench.works import WORKS
from snnhll.errors import UserError, nearest

Report = Callable[[str], None]
STAGED = [  # the settings whose layers can be stages
    f"pred_sim {update} {precision}" for update in ("rate", "accumulate", "final") for precision in PRECISIONS
]


def main(arguments: list[str]) -> int:
    """Run the benchmark. Returns 1 when a measurement failed or spikes differed."""
    chosen = parse(arguments)
    report = partial(Console(stderr=True, highlight=False, soft_wrap=True).print, markup=False)
    run: Runner = partial(in_fresh_process, threads=chosen.threads, warn=report)
    if chosen.stages:
        return stages(chosen, run, report)
    planned = plan(chosen)
    works = [work for work in chosen.works if any(m.work.name == work for m in planned)]
    agreed = [agree(work, peer, min(chosen.T), run, report) for work in works for peer in chosen.against]
    rows = interleave(planned, chosen.rounds, run, report)
    if chosen.json:
        print(json.dumps([row.contract() for row in rows if row.failure is None], indent=2))
    else:
        show(rows, chosen, run)
    return 0 if all(agreed) and all(row.failure is None for row in rows) else 1


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _count(text: str) -> int:
    if _number(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _number(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


OPTIONS: dict[str, dict[str, Any]] = {
    "--against": {"metavar": "NAME", "type": _names, "default": ()},
    "--T": {"metavar": "N", "type": _counts, "default": (10,)},
    "--batch": {"metavar": "N", "type": _counts, "default": (64,)},
    "--precision": {"metavar": "P", "type": _names, "default": ()},
    "--setting": {"metavar": "NAME", "nargs": "+", "default": []},
    "--rounds": {"metavar": "N", "type": _number, "default": 3},
    "--steps": {"metavar": "N", "type": _count, "default": None},
    "--threads": {"metavar": "N", "type": _count, "default": os.cpu_count()},
    "--stages": {"metavar": "N", "type": _count, "default": None},
    "--scaling": {"action": "store_true"},
    "--json": {"action": "store_true"},
}
FLAGS = {flag: read.get("metavar", "") for flag, read in OPTIONS.items()}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"bench: {message}; see snnhll bench --help.")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the checked arguments. Raises UserError for an unknown name or a framework that is not installed."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("works", nargs="*")
    for flag, read in OPTIONS.items():
        parser.add_argument(flag, **read)
    chosen = parser.parse_args(arguments)
    chosen.works = chosen.works or ["mlp", "conv"]
    _check("network", chosen.works, WORKS)
    _check("--against", chosen.against, PEERS)
    _check("--precision", chosen.precision, PRECISIONS)
    _check("--setting", chosen.setting, [*contest.our_settings(), *PEER_SETTINGS.values()])
    if min(chosen.batch) < 2:
        raise UserError("bench: --batch must be at least 2, because batch statistics need two images.")
    for peer in chosen.against:
        if find_spec(peer) is None:
            raise UserError(f"bench: {peer} is not installed; run pip install 'snnhll[bench]'.")
    if not chosen.rounds and not chosen.stages:
        raise UserError("bench: --rounds 0 measures nothing; only --stages has something to print without rounds.")
    if not contest.contestants(chosen.against, wanted(chosen)):
        raise UserError("bench: nothing to measure; the chosen settings are those of other frameworks: add --against.")
    return chosen


def stages(chosen: argparse.Namespace, run: Runner, report: Report) -> int:
    """Measure and model pipeline stages. Raises UserError for what has none."""
    from snnhll.bench import pipeline

    if chosen.against or chosen.scaling:
        raise UserError("bench: --stages measures this program alone; leave --against and --scaling away.")
    settings = chosen.setting or [f"pred_sim rate {precision}" for precision in chosen.precision or ("fp32",)]
    _check("--setting with --stages", settings, STAGED)
    for work in chosen.works:
        parts = len(WORKS[work].layers()) + 1
        if not 2 <= chosen.stages <= parts:
            raise UserError(f"bench: --stages {chosen.stages}: {work} has 2 to {parts}, its layers and the readout.")
    tasks = product(chosen.works, settings, chosen.T, chosen.batch)
    measurements = [
        Measurement(WORKS[work], OURS, setting, T, batch, chosen.steps) for work, setting, T, batch in tasks
    ]
    found = [pipeline.compare(m, chosen.stages, chosen.rounds, run, report) for m in measurements]
    if chosen.json:
        print(json.dumps([one.contract() for one in found], indent=2))
        return 0
    console = Console(highlight=False)
    for one in found:
        console.print(pipeline.table(one))
        console.print(pipeline.summary(one), soft_wrap=True)
    return 0


def wanted(chosen: argparse.Namespace) -> list[str]:
    """Return the names of the settings that are measured."""
    if not chosen.setting and not chosen.precision:
        return list(contest.GROWTH_LIST if chosen.scaling else contest.SHORT_LIST)
    precisions = chosen.precision or tuple(PRECISIONS)
    every = [*contest.our_settings(precisions), *contest.peer_settings(precisions)]
    return [setting for setting in every if not chosen.setting or setting in chosen.setting]


def plan(chosen: argparse.Namespace) -> list[Measurement]:
    """Return everything that a round measures."""
    everyone = contest.contestants(chosen.against, wanted(chosen))
    tasks = [(work, T, batch) for work in chosen.works for T in chosen.T for batch in chosen.batch]
    measurements = [
        Measurement(WORKS[work], framework, setting, T, batch, chosen.steps)
        for work, T, batch in (tasks[:1] if chosen.scaling else tasks)
        for framework, setting in everyone
    ]
    return [point for m in measurements for point in contest.growth(m)] if chosen.scaling else measurements


def agree(work: str, peer: str, steps: int, run: Runner, report: Report) -> bool:
    """Report whether a peer computes the same spikes as we do, under every reset that both have."""
    try:
        found = run({"kind": "agreement", "work": asdict(WORKS[work]), "framework": peer, "T": steps})["agreements"]
    except WorkerError as error:
        report(f"{work}  {peer}: spikes could not be compared: {error}")
        return False
    for agreement in found:
        different = agreement["different"]
        verdict = f"DIFFER, by layer {different}" if any(different) else f"of all {len(different)} layers equal"
        rates = " ".join(f"{rate:.3f}" for rate in agreement["rates"])
        report(f"{work}  {peer}: spikes {verdict}, {agreement['reset']} reset, firing rates {rates}")
    return not any(count for agreement in found for count in agreement["different"])


def show(rows: list[Row], chosen: argparse.Namespace, run: Runner) -> None:
    """Print the tables, and under each comparison the floor."""
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=140)
    console.print(conditions(rows, chosen))
    if chosen.scaling:
        console.print(tables.growth(rows))
        return
    for work in chosen.works:
        console.print(tables.comparison(work, rows))
        for row in best(row for row in rows if row.measurement.work.name == work):
            console.print(floor_line(row, run))


def conditions(rows: list[Row], chosen: argparse.Namespace) -> str:
    """Return what the figures were measured with, and what memory is counted from."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", *chosen.against))
    baselines = " or ".join(sorted({baseline for row in rows for baseline in row.baselines}))
    return (
        f"{versions}; {chosen.threads} threads, {chosen.rounds} rounds; "
        f"peak memory is the growth of resident memory over the {baselines}"
    )


def best(rows: Iterable[Row]) -> list[Row]:
    """Return our fastest row for each T and batch."""
    found: dict[tuple[int, int], Row] = {}
    for row in rows:
        m = row.measurement
        if m.framework == OURS and row.failure is None:
            rival = found.get((m.T, m.batch))
            found[m.T, m.batch] = row if rival is None or row.speed > rival.speed else rival
    return list(found.values())


def floor_line(row: Row, run: Runner) -> str:
    """Return the operations of a step, the rates of plain products here, the floor, and the share `row` reaches."""
    from snnhll.bench import floor

    m = row.measurement
    precision = m.setting.split()[-1]
    rates = floor.Rates(**run({"kind": "floor", "precision": PRECISIONS[precision]}))
    needed = floor.operations(m.work, m.T, m.batch)
    least = floor.seconds(needed, rates)
    return (
        f"floor at T {m.T}, batch {m.batch}: {(needed.conv + needed.linear) / 1e9:.3g} GFLOP a step; a plain "
        f"{precision} convolution runs here at {rates.conv / 1e9:.0f} GFLOP/s, a matrix product at "
        f"{rates.linear / 1e9:.0f}: {least * 1e3:.2f} ms; {m.setting} reaches {least * row.speed / m.batch:.0%} of it"
    )


def _check(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in list(known):
            raise UserError(f"bench: {what} {name!r} is not known.{nearest(name, known)}")
