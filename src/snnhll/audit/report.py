"""One line of table 4-6 a rule: what was measured, and what the thesis ticks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from snnhll.audit.cost import Cost
from snnhll.audit.properties import Properties

COLUMNS = ("local", "no_weight_symmetry", "no_update_locking", "asynchronous_parallel", "competitive_accuracy")
THESIS = {  # table 4-6; "Eprop" is glossed there as equilibrium propagation, so both rules of that name stand beside it
    "bptt": ("surrogate-BP", (False, False, False, False, True)),
    "fa": ("FA", (False, True, False, False, False)),
    "dfa": ("DFA", (True, True, False, False, False)),
    "tp": ("TP", (True, True, False, False, True)),
    "dtp": ("TP", (True, True, False, False, True)),
    "eprop": ("Eprop", (True, True, False, False, True)),
    "eqprop": ("Eprop", (True, True, False, False, True)),
    "stdp": ("STDP", (True, True, True, True, False)),
    "local": ("SNN-HLL", (True, True, True, True, True)),
    "three_factor": ("SNN-HBH", (True, True, True, True, True)),
}
COMPETITIVE = 0.02  # how far below bptt on the same network an accuracy may be


@dataclass(frozen=True)
class Accuracies:
    """Test accuracies over seeds of a rule and of bptt on the same data and network, as fractions."""

    rule: list[float]
    bptt: list[float]

    @property
    def competitive(self) -> bool:
        return fmean(self.rule) >= fmean(self.bptt) - COMPETITIVE


@dataclass(frozen=True)
class Line:
    """What was measured of a rule. accuracies: None where no training was asked for."""

    rule: str
    properties: Properties
    cost: Cost
    accuracies: Accuracies | None

    def ticks(self) -> tuple[bool | None, ...]:
        """Return the five properties in the order of the table; None: not measured."""
        own = self.properties
        last = None if self.accuracies is None else self.accuracies.competitive
        return own.local, own.no_weight_symmetry, own.no_update_locking, own.asynchronous_parallel, last

    def contract(self) -> dict[str, Any]:
        """Return the line for --json."""
        evidence = asdict(self.properties)
        for name in COLUMNS[:4]:
            del evidence[name]
        evidence |= {
            "temporally_local": self.cost.temporally_local,
            "bytes_by_steps": self.cost.bytes,
            "multiply_accumulates_per_image": self.cost.operations,
        }
        if self.accuracies is not None:
            evidence |= {"test_accuracy": self.accuracies.rule, "bptt_test_accuracy": self.accuracies.bptt}
        if self.rule in THESIS:
            name, ticks = THESIS[self.rule]
            evidence["thesis"] = {"rule": name, **dict(zip(COLUMNS, ticks, strict=True))}
        return {"rule": self.rule, **dict(zip(COLUMNS, self.ticks(), strict=True)), "evidence": evidence}


def table(lines: list[Line]) -> list[tuple[str, ...]]:
    """Return the heading and one row a rule; a cell is what was measured and, in brackets, the thesis's tick."""
    lengths = sorted(lines[0].cost.bytes)
    heading = (
        "rule",
        *(name.replace("_", " ") for name in COLUMNS),
        "memory constant in T",
        "accuracy",
        *(f"kB, T={T}" for T in lengths),
        "kMAC/image",
    )
    return [heading, *(_row(line, lengths) for line in lines)]


def _row(line: Line, lengths: list[int]) -> tuple[str, ...]:
    claimed = THESIS[line.rule][1] if line.rule in THESIS else (None,) * len(COLUMNS)
    cells = [
        mark(tick) + ("" if claim is None else f" ({mark(claim)})")
        for tick, claim in zip(line.ticks(), claimed, strict=True)
    ]
    accuracy = "–" if line.accuracies is None else f"{100 * fmean(line.accuracies.rule):.2f}"
    memory = (f"{line.cost.bytes[T] / 1000:.0f}" for T in lengths)
    local_in_time = mark(line.cost.temporally_local)
    return line.rule, *cells, local_in_time, accuracy, *memory, f"{line.cost.operations / 1000:.0f}"


def mark(tick: bool | None) -> str:
    """Return a tick, a cross, or a dash for what was not measured."""
    return {True: "✓", False: "✗", None: "–"}[tick]


def explain(line: Line) -> list[str]:
    """Return in words what the measurements of a rule rest on."""
    own, blocks = line.properties, len(line.properties.waits_for)
    name = {blocks + 1: "readout"} | {i: f"layer {i}" for i in range(1, blocks + 1)}

    def pairs(found: list[tuple[int, int]]) -> str:
        return ", ".join(f"{name[k]} → {name[i]}" for k, i in found) or "none"

    sentences = [
        f"disturbed {kind} that reach a layer that is no neighbour: {pairs(own.reach[kind])}" for kind in own.reach
    ]
    sentences.append(f"weights of later layers that reach an update, activities held: {pairs(own.symmetric)}")
    sentences += [
        f"{name[i]} needs the results of: {', '.join(name[k] for k in later) or 'no later layer'}"
        for i, later in own.waits_for.items()
    ]
    for i, later in own.ran_before_update.items():
        if later is not None:
            sentences.append(f"{name[i]} was updated when {later} of {blocks + 1 - i} later layers had run")
    sentences.append(f"learn alone, all others scrambled: {', '.join(name[i] for i in own.alone) or 'none'}")
    idle = [name[i] for i in name if i not in own.learns]
    if idle:
        sentences.append(f"do not learn, so nothing is shown of them: {', '.join(sorted(idle))}")
    return sentences
