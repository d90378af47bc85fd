"""`snnhll audit` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import Command

KEYS = {
    "rule",
    "local",
    "no_weight_symmetry",
    "no_update_locking",
    "asynchronous_parallel",
    "competitive_accuracy",
    "evidence",
}


def test_one_rule_without_training(snnhll: Command) -> None:
    answer = snnhll("audit", "rule=dfa", "--no-accuracy", "--json")
    assert answer.code == 0
    (line,) = json.loads(answer.out)
    assert set(line) == KEYS
    assert [line[key] for key in list(line)[1:6]] == [False, True, False, False, None]
    assert line["evidence"]["thesis"]["rule"] == "DFA"
    assert line["evidence"]["thesis"]["local"] is True
    assert line["evidence"]["waits_for"] == {str(i): [5] for i in (1, 2, 3, 4)}


def test_the_table_has_the_thesiss_tick_beside_the_measured_one(snnhll: Command) -> None:
    answer = snnhll("audit", "rule=dfa", "--no-accuracy", "--why")
    heading, row, *rest = answer.out.splitlines()
    assert heading.split()[:2] == ["rule", "local"]
    assert row.split()[:9] == ["dfa", "✗", "(✓)", "✓", "(✓)", "✗", "(✗)", "✗", "(✗)"]
    assert "  layer 1 needs the results of: readout" in rest


def test_settings_reach_the_rule(snnhll: Command) -> None:
    """Local learning that updates at every time step keeps nothing over time; the default keeps the spikes."""
    constant = []
    for update in ("accumulate", "online"):
        out = snnhll("audit", "rule=local", f"trainer.update={update}", "--no-accuracy", "--json").out
        constant.append(json.loads(out)[0]["evidence"]["temporally_local"])
    assert constant == [False, True]


def test_accuracy_is_that_of_runs_beside_bptt(snnhll: Command, tmp_path: Path) -> None:
    small = ("trainer.epochs=1", "data.limit=10", "seed=0", "tracking=none", f"output_dir={tmp_path}")
    answer = snnhll("audit", "rule=fa", "--json", *small)
    assert answer.code == 0, answer.err
    (line,) = json.loads(answer.out)
    assert len(line["evidence"]["test_accuracy"]) == len(line["evidence"]["bptt_test_accuracy"]) == 1
    lost = line["evidence"]["bptt_test_accuracy"][0] - line["evidence"]["test_accuracy"][0]
    assert line["competitive_accuracy"] is (lost <= 0.02)
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("digits")]) == 2


def test_settings_of_the_rule_are_not_those_of_the_reference(snnhll: Command, tmp_path: Path) -> None:
    small = ("trainer.epochs=1", "data.limit=4", "seed=0", "tracking=none", f"output_dir={tmp_path}")
    answer = snnhll("audit", "rule=dfa", "rule.sparsity=0.5", *small)
    assert answer.code == 0, answer.err
    written = [path.read_text() for path in sorted(tmp_path.glob("digits-*/config.yaml"))]
    assert ["sparsity: 0.5" in text for text in written] == [False, True]  # bptt, dfa


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "snnhll audit needs rule=NAME, one rule, or --all."),
        (("rule=dfa", "--all"), "snnhll audit needs rule=NAME, one rule, or --all."),
        (("rule=dfaa",), "rule=dfaa: no such option. Did you mean 'dfa'?"),
        (("rule=dfa", "--jsn"), "--jsn: no such flag"),
        (("rule=dfa", "rule.sparsity=2", "--no-accuracy"), "rule.sparsity: 2.0 is out of range"),
    ],
)
def test_mistakes_are_one_line(snnhll: Command, arguments: tuple[str, ...], says: str) -> None:
    answer = snnhll("audit", *arguments)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1
