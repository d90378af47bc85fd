"""Audits of rules, in the settings that the rows of sweeps/rules.yaml give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from snnhll.assemble import Problem, build_rule
from snnhll.audit import cost, properties
from snnhll.audit.experiment import Bench
from snnhll.audit.report import Accuracies, Line
from snnhll.config import Config, compose, settings
from snnhll.errors import UserError
from snnhll.rules.rule import Rule
from snnhll.sweeps.definition import Row, Sweep, read
from snnhll.sweeps.jobs import Plan, plan
from snnhll.sweeps.runner import Announcer, work

# Plain gradient descent, so that an update is its gradient: Adam's first step would hide how large one is.
BENCH = ("architecture.spec=64-24-20-18-16-n", "optimizer=sgd", "optimizer.lr=0.1", "optimizer.momentum=0")
PROBLEM = Problem((1, 8, 8), 10, [0.3], [0.3])
SAMPLES = 24
STEPS = (4, 16)
REFERENCE = "bptt"


def rules() -> list[str]:
    """Return the rules that `snnhll audit --all` looks at: those of sweeps/rules.yaml, in its order."""
    return [name for row in read("rules").rows if (name := _rule_of(row.overrides or [])) is not None]


def audit(rule: str, overrides: Sequence[str]) -> Line:
    """Measure the properties and the cost of a rule. overrides: of the user; those of the network are kept."""
    chosen = (*_own_overrides(rule), *overrides, *BENCH)
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(SAMPLES, *PROBLEM.shape, generator=draw)
    labels = torch.arange(SAMPLES) % PROBLEM.classes
    config = compose(chosen)

    def make(steps: int) -> Rule:
        return _build(config, steps)

    return Line(
        rule,
        properties.measure(Bench(make(STEPS[0]), images, labels)),
        cost.measure(make, STEPS, images, labels),
        None,
    )


def accuracies(rules: Sequence[str], overrides: Sequence[str], announcer: Announcer) -> dict[str, Accuracies]:
    """Train what is missing of the rules and of bptt beside them, as `snnhll sweep rules` does, and return how they do.

    Raises UserError where a run failed.
    """
    own = [o for o in overrides if o.startswith("rule.")]  # which the rule beside it may not have
    sweep = _only(read("rules"), rules, own)
    scale = () if any(o.startswith("scale=") for o in overrides) else ("scale=smoke",)
    planned = plan(sweep, [*scale, *(o for o in overrides if o not in own)])
    if failures := work(planned.jobs, sweep.name, announcer):
        label, reason = next(iter(failures.items()))
        raise UserError(f"{label} failed: {reason}")
    reached = {_rule_of(row.overrides or []): _reached(planned, row) for row in sweep.rows}
    return {rule: Accuracies(reached[rule], reached[REFERENCE]) for rule in rules}


def _build(config: Config, steps: int) -> Rule:
    chosen = settings(config)
    torch.manual_seed(0)
    return build_rule(config, replace(chosen, trainer=replace(chosen.trainer, steps=steps)), PROBLEM)


def _own_overrides(rule: str) -> list[str]:
    """Return the settings of a rule's row; a rule without one, such as the user's own, is named alone."""
    rows = (row.overrides or [] for row in read("rules").rows)
    return next((own for own in rows if _rule_of(own) == rule), [f"rule={rule}"])


def _only(sweep: Sweep, wanted: Sequence[str], own: Sequence[str]) -> Sweep:
    """Return the sweep with the rows of the wanted rules, set by `own` too, and of the reference, each once."""
    known = {_rule_of(row.overrides or []): row for row in sweep.rows}
    rows = {rule: known.get(rule, Row(rule, [f"rule={rule}"])) for rule in (*wanted, REFERENCE)}
    chosen = [
        replace(row, overrides=[*(row.overrides or []), *(own if rule in wanted else ())]) for rule, row in rows.items()
    ]
    return replace(sweep, rows=chosen)


def _rule_of(overrides: Sequence[str]) -> str | None:
    return next((o.partition("=")[2] for o in overrides if o.startswith("rule=")), None)


def _reached(planned: Plan, row: Row) -> list[float]:
    """Return the test accuracies of a row, one a seed."""
    results = [job.folder.result() for job in planned.of(row)]
    return [r.test_accuracy for r in results if r is not None and r.test_accuracy is not None]
