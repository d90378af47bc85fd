"""Every learning rule in bfloat16: no product of two precisions, and nothing that is not a number."""

from __future__ import annotations

import pytest
import torch

from snnhll.assemble import Problem, build_rule
from snnhll.config import compose, settings
from snnhll.sweeps.definition import read

ROWS = {row.name: row.overrides for row in read("rules").rows}


@pytest.mark.parametrize("row", ROWS)
def test_a_step_and_an_evaluation_in_bfloat16(row: str) -> None:
    torch.manual_seed(0)
    common = ["data=digits", "tracking=none", "trainer.precision=bfloat16", *read("rules").overrides]
    config = compose([*common, *ROWS[row]])
    rule = build_rule(config, settings(config), Problem((1, 8, 8), 10, [0.3], [0.4]))
    images, labels = torch.rand(12, 1, 8, 8), torch.arange(12) % 10
    before = {name: parameter.clone() for name, parameter in rule.named_parameters()}
    metrics = rule.train().step(images, labels)
    outcome = rule.eval().evaluate(images)
    assert all(bool(torch.isfinite(torch.as_tensor(value)).all()) for value in metrics.values())
    assert outcome.inference.logits.dtype == torch.float32
    assert outcome.inference.logits.isfinite().all()
    assert any(not torch.equal(before[name], parameter) for name, parameter in rule.named_parameters())
