"""How many processes a run takes, with how many threads, and what they cannot share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from snnhll.assemble import assemble
from snnhll.config import Settings, compose, settings
from snnhll.errors import UserError
from snnhll.parallel import together

OVERRIDES = ["data.limit=8", "architecture.spec=4C3-P2-FCn", "tracking=none"]


def chosen(*overrides: str) -> Settings:
    return settings(compose([*OVERRIDES, *overrides]))


def test_a_run_is_one_process_unless_it_is_parallel() -> None:
    assert together.size(chosen("trainer.processes=3")) == 1
    assert together.size(chosen("trainer.parallel=layers", "trainer.processes=3")) == 3
    assert together.size(chosen("trainer.parallel=data")) == max(2, torch.cuda.device_count())


def test_processes_share_the_threads_that_one_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    stages = ("trainer.parallel=layers", "trainer.processes=3")
    assert together.threads(chosen()) is None
    assert together.threads(chosen(*stages)) == 2
    assert together.threads(chosen(*stages, "threads=5")) == 5


def test_shared_steps_are_not_recorded() -> None:
    plain = chosen("trainer.parallel=layers")
    parts = assemble(compose([*OVERRIDES, "trainer.parallel=layers"]), plain)
    together.check(parts, plain)
    recorded = replace(plain, trainer=replace(plain.trainer, cuda_graphs=True))
    with pytest.raises(UserError, match=r"trainer\.cuda_graphs"):
        together.check(parts, recorded)
