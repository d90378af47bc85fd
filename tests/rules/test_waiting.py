"""A training step never asks the device for a number, so that an accelerator is always kept busy.

Tensors on torch's device "meta" have shapes and no values: a step runs there, and fails where it reads a value, makes a
tensor whose size depends on values, or mixes in a tensor of another device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from snnhll.data.augment import Augment
from snnhll.data.imageset import ImageSet
from snnhll.data.pipeline import Data
from snnhll.rules.rule import Rule

MakeRule = Callable[..., Rule]

NET = ("architecture.spec=4C3-6C3-P2-FC12-FC4", "architecture.dropout=0.2", "trainer.steps=3", "optimizer=sgd")


@pytest.mark.parametrize("update", ["online", "accumulate", "final", "rate"])
@pytest.mark.parametrize("loss", ["pred_sim_contrast", "sim_recon"])
def test_local_learning(make_rule: MakeRule, update: str, loss: str) -> None:
    assert_never_waits(make_rule(*NET, f"loss={loss}", update=update))


@pytest.mark.parametrize(
    "overrides",
    [
        ("rule=bptt",),
        ("rule=fa",),
        ("rule=snib",),
        ("rule=spike_bp", "neuron.decay=0.9"),
        ("rule=spike_count", "neuron=if", "architecture.norm=none"),
        ("loss=hsic", "kernel.bandwidth=median"),
        ("rule=three_factor", "loss=hsic"),
        ("loss.weighting=gradnorm",),
        ("encoding=poisson",),
        ("trainer.precision=bfloat16",),
    ],
    ids=" ".join,
)
def test_others_that_can_be_recorded(make_rule: MakeRule, overrides: tuple[str, ...]) -> None:
    assert_never_waits(make_rule(*NET, *overrides, update="rate"))


def assert_never_waits(rule: Rule) -> None:
    assert rule.recordable
    rule.train().step(torch.rand(12, 1, 8, 8), torch.arange(12) % 4)  # the first batch may be looked at
    rule.to("meta")
    for optimizer in rule.optimizers:
        optimizer.state.clear()
    images, labels = torch.rand(12, 1, 8, 8, device="meta"), torch.zeros(12, dtype=torch.int64, device="meta")
    metrics = rule.step(images, labels)
    assert {value.device.type for value in metrics.values()} == {"meta"}
    if rule.network.encoding.normalised:  # the other codes draw from a generator, which this device has not
        assert rule.eval().evaluate(images).inference.logits.device.type == "meta"


def test_the_device_meta_has_no_values() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.ones(1, device="meta"))


class Waits(TorchDispatchMode):
    """Keeps the names of operations that would make the host wait: they read values, or their size depends on them."""

    NAMES = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "bincount", "_unique2", "unique_dim")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.NAMES:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


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
        float(images[0, 0, 0, 0])
    assert mode.seen == ["_local_scalar_dense"]
