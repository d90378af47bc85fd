"""A training step never asks the device for a number, so that an accelerator is always kept busy.

Operations that read a value, or whose result has a size that depends on values, make the host wait. On a CPU they cost
nothing, but they can be seen there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from snnhll.data.augment import Augment
from snnhll.data.imageset import ImageSet
from snnhll.data.pipeline import Data
from snnhll.ops import dispatch
from snnhll.rules.rule import Rule

MakeRule = Callable[..., Rule]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "bincount",
    "_unique2",
    "unique_dim",
    "equal",
    "is_nonzero",
}
CONV = ("architecture.spec=4C3-6C3-P2-FC12-FC10", "architecture.dropout=0.2", "tracking=none")


class Waits(TorchDispatchMode):
    """Keeps the names of the operations that would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """No path of the CPU alone: plain torch for the kernels, notes of pixels, and no look at labels by one_hot."""
    monkeypatch.setattr(dispatch, "_fast_path", lambda *args: None)
    monkeypatch.setattr("snnhll.encodings.encoding.check_pixels", lambda images: None)
    monkeypatch.setattr(F, "one_hot", lambda labels, classes: (labels[:, None] == torch.arange(classes)).long())


@pytest.mark.parametrize("update", ["online", "accumulate", "final", "rate"])
@pytest.mark.parametrize("loss", ["pred_sim", "sim_recon", "pred_contrast"])
def test_local_learning(make_rule: MakeRule, make_batch: MakeBatch, update: str, loss: str) -> None:
    assert waits(make_rule(*CONV, f"loss={loss}", update=update), *make_batch(12, torch.float32)) == []


@pytest.mark.parametrize(
    "overrides",
    [
        ("rule=bptt",),
        ("loss=hsic", "kernel.bandwidth=median"),
        ("rule=three_factor", "loss=hsic"),
        ("loss.weighting=gradnorm",),
        ("encoding=poisson",),
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_others_that_can_be_recorded(make_rule: MakeRule, make_batch: MakeBatch, overrides: tuple[str, ...]) -> None:
    rule = make_rule(*CONV, *overrides, update="rate")
    assert rule.recordable
    assert waits(rule, *make_batch(12, torch.float32)) == []


def waits(rule: Rule, images: Tensor, labels: Tensor) -> list[str]:
    rule.float().train()
    rule.step(images, labels)  # the first batch may be looked at
    with Waits() as mode:
        rule.step(images, labels)
    return mode.seen


def test_waiting_is_seen() -> None:
    with Waits() as mode:
        float(torch.ones(1).sum())
        torch.ones(3)[torch.tensor([True, False, True])]
    assert mode.seen == ["_local_scalar_dense", "nonzero"]


def test_batches_and_augmentation() -> None:
    """After the order of the epoch, which is drawn on the host, every batch is made on the device."""
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(40) % 4
    whole = ImageSet("random", images, labels, images, labels, ("a", "b", "c", "d"))
    data = Data(whole, batch_size=8, seed=0, augment=Augment(crop=2, flip=True, cutout=3))
    batches = data.train_batches(0)
    next(batches)
    with Waits() as mode:
        assert len(list(batches)) == data.steps_per_epoch - 1
    assert mode.seen == []
