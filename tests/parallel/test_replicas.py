"""Shares of every batch: the numbers of one process with the whole batch, for every loss."""

from __future__ import annotations

import pytest
import torch
from members import CPU, Case, Learned, alone, flat, together, work
from torch import Tensor

from snnhll.config import options
from snnhll.parallel.launch import started

NET = ("architecture.spec=4C3-P2-6C3-FC12-n", "optimizer=sgd", "optimizer.lr=2e-3")
UPDATES = ("accumulate", "final", "rate")
CASES = [
    *(
        Case.of(*NET, f"loss={loss}", "architecture.dropout=0.3", update=update, double=True)
        for loss in options("loss")
        for update in UPDATES
    ),
    *(
        Case.of(*NET, f"loss={loss}", "architecture.dropout=0.3", update="online", double=True)
        for loss in ("pred_sim_contrast", "pred_recon", "hsic")
    ),
    *(
        Case.of(*NET, "loss=pred_sim", f"architecture.norm={norm}", update=update, double=True)
        for norm in ("none", "weight")
        for update in UPDATES
    ),
    *(Case.of(*NET, "rule=bptt", f"architecture.norm={norm}", double=True) for norm in ("none", "batch")),
    Case.of(*NET, "loss=hsic", "loss.terms.hsic.objective=xz", double=True),
    Case.of("architecture.spec=4C3-4SEW3-FC12-n", "optimizer=adam", "architecture.dropout=0.3", double=True),
]
APART = Case.of(*NET, "loss=sim", "architecture.dropout=0.3", update="rate", double=True, gather=False)


@pytest.fixture(scope="module")
def shared() -> dict[str, Learned]:
    """What two processes learned, by the name of the case."""
    cases = [*CASES, APART]
    with started(2, CPU, work, cases) as team:
        learned = [(case, together(case, team)) for case in cases]
    return {f"{case.name} {case.gather}": found for case, found in learned if found is not None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_learn_what_one_learns(shared: dict[str, Learned], case: Case) -> None:
    serial, found = alone(case), shared[f"{case.name} True"]
    for one, other in zip(serial.metrics, found.metrics, strict=True):
        assert list(one) == list(other)
        for name in one:
            assert float(other[name]) == pytest.approx(float(one[name]), rel=1e-6)
    for one, other in zip(flat(serial.checkpoint), flat(found.checkpoint), strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)
        else:
            assert one == other
    start = case.rule().state_dict()
    weights = [name for name in start if name.endswith("synapse.weight") or name == "network.readout.weight"]
    assert not any(torch.equal(start[name], found.checkpoint["module"][name]) for name in weights)


def test_processes_that_compare_their_own_samples_only_learn_something_else(shared: dict[str, Learned]) -> None:
    serial, found = alone(APART), shared[f"{APART.name} False"]
    name = "network.blocks.0.synapse.weight"
    assert not torch.allclose(serial.checkpoint["module"][name], found.checkpoint["module"][name], rtol=1e-3)
