"""snnhll audit rule=NAME [KEY=VALUE ...]   measure the properties of table 4-6 on a running rule
snnhll audit --all                       measure those of every rule, beside what the thesis ticks

A five-layer net on digits-sized images takes one training step under disturbances: layers whose activity, weights or
loss are replaced, with the others held. A rule is local, free of weight symmetry, of update locking, or parallel if the
updates do not change; docs/audit.md says how. Memory and operations are those of the same step. Accuracy is that of
`snnhll sweep rules scale=smoke` beside bptt on the same network; runs that have finished are not repeated.

  rule=NAME       the rule (snnhll ls rule), also one of your own (--config-dir DIR)
  KEY=VALUE       settings of the rule, for instance rule.sparsity=0.5; scale=cpu data.root=DIR for other data
  --no-accuracy   leave the training out
  --why           say for every layer what its update depends on
  --json          print a list of {rule, local, no_weight_symmetry, no_update_locking, asynchronous_parallel,
                  competitive_accuracy, evidence}; competitive_accuracy is null without training

  snnhll audit rule=dfa --why
"""

from __future__ import annotations

import json
from dataclasses import replace

from rich.console import Console

from snnhll.cli.columns import aligned
from snnhll.cli.flags import take_apart
from snnhll.config import options
from snnhll.errors import UserError, nearest

FLAGS = dict.fromkeys(("--all", "--no-accuracy", "--why", "--json"), "")


def main(arguments: list[str]) -> int:
    """Audit one rule or all of them."""
    overrides, flags = take_apart("audit", arguments, FLAGS)
    if unknown := next((word for word in overrides if "=" not in word), None):
        raise UserError(f"{unknown!r} is not of the form KEY=VALUE; snnhll audit takes rule=NAME.")
    named = [o.partition("=")[2] for o in overrides if o.startswith("rule=")]
    if len(named) + ("--all" in flags) != 1:
        raise UserError("snnhll audit needs rule=NAME, one rule, or --all.")
    if named and named[0] not in (known := options("rule", overrides)):
        raise UserError(f"rule={named[0]}: no such option.{nearest(named[0], known)}")
    from snnhll.audit.report import explain, table
    from snnhll.audit.run import accuracies, audit, rules
    from snnhll.cli.progress import OnScreen

    chosen, settings = named or rules(), [o for o in overrides if not o.startswith("rule=")]
    lines = [audit(rule, settings) for rule in chosen]
    if "--no-accuracy" not in flags:
        reached = accuracies(chosen, settings, OnScreen(Console(stderr=True)))
        lines = [replace(line, accuracies=reached[line.rule]) for line in lines]
    if "--json" in flags:
        print(json.dumps([line.contract() for line in lines], indent=2))
        return 0
    print("\n".join(aligned(table(lines))))
    print("measured, and in brackets what table 4-6 of the thesis says")
    for line in lines if "--why" in flags else []:
        print("", line.rule, *(f"  {sentence}" for sentence in explain(line)), sep="\n")
    return 0
