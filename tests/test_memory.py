"""Memory of a training step: local learning keeps one layer's graph, online learning one time step's.

Tensors are counted from their creation to their end, so the figures are the same in every run and on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnhll import memory
from snnhll.audit.cost import Meter
from snnhll.errors import UserError
from snnhll.losses.contrastive import ContrastiveLoss
from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.prediction import PredictionLoss
from snnhll.losses.similarity import SimilarityLoss
from snnhll.networks.network import Network
from snnhll.networks.spec import Layer
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.local import LocalRule
from snnhll.rules.rule import Rule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]

BATCH, CHANNELS = 16, 8
MAP = BATCH * CHANNELS * 64 * 4  # bytes of one layer's activity at one time step
SCALARS = 16  # bytes a layer adds to the metrics of a step: three losses


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """Descent that lets go of its gradients, which are as large as the weights, at once."""
    optimizer = torch.optim.SGD(list(parameters), lr=0.01)
    optimizer.register_step_post_hook(lambda done, *_: done.zero_grad(set_to_none=True))
    return optimizer


def loss(layer: Layer) -> HybridLoss:
    terms = {"pred": PredictionLoss(layer, 4, 64), "sim": SimilarityLoss(layer), "contrast": ContrastiveLoss()}
    return HybridLoss(terms, {"pred": 0.9, "sim": 0.01, "contrast": 0.09})


@pytest.fixture
def peak(make_network: MakeNetwork, make_batch: MakeBatch) -> Callable[..., int]:
    """Peak bytes of one training step of `layers` equal convolutions over `steps` time steps."""

    def measure(update: Any, layers: int = 2, steps: int = 6) -> int:
        spec = "-".join([f"{CHANNELS}C3"] * layers + ["n"])
        net = make_network(spec, "batch", steps=steps, dtype=torch.float32)
        rule: Rule = BPTTRule(net, sgd) if update == "bptt" else LocalRule(net, loss, sgd, update)
        rule.train()
        images, labels = make_batch(BATCH, torch.float32)
        rule.step(images, labels)  # buffers that stay are made now
        with Meter() as count:
            rule.step(images, labels)
        return count.peak

    return measure


@pytest.mark.parametrize("update", ["accumulate", "final", "rate"])
def test_layer_by_layer_memory_is_that_of_one_layer(peak: Callable[..., int], update: str) -> None:
    """From the second layer on, for the first receives a constant image; six layers more add their scalars only."""
    assert peak(update, layers=8) - peak(update, layers=2) <= 6 * SCALARS


def test_online_memory_grows_by_the_state_of_the_neurons(peak: Callable[..., int]) -> None:
    """A layer carries membrane, spike counts and input counts, but no graph, while the others work."""
    assert peak("online", layers=8) - peak("online", layers=2) <= 6 * (3 * MAP + SCALARS)


def test_online_memory_does_not_grow_with_time(peak: Callable[..., int]) -> None:
    assert peak("online", steps=24) == peak("online", steps=6)


def test_backpropagation_through_time_grows_with_both(peak: Callable[..., int]) -> None:
    """So the measure can tell: the membranes of every layer and step are kept."""
    assert peak("bptt", layers=8) - peak("bptt", layers=2) >= 6 * 6 * MAP
    assert peak("bptt", steps=24) - peak("bptt", steps=6) >= 18 * 2 * MAP
    assert peak("accumulate", steps=24) - peak("accumulate", steps=6) >= 18 * MAP


def test_the_measure_counts_what_is_alive() -> None:
    before = torch.zeros(300)
    with Meter() as count:
        before.add_(1)
        kept = torch.zeros(1000)
        for _ in range(5):
            torch.ones(500).add_(1)
        view = kept[:10].view(2, 5)
    assert count.bytes == 4000
    assert count.peak == 6000
    assert view.sum() == 0


# The figure a run reports


def test_peak_of_the_process_sees_a_large_tensor() -> None:
    cpu = torch.device("cpu")
    memory.start_peak(cpu)
    before = memory.peak(cpu)
    large = nn.Parameter(torch.ones(64 * 2**20 // 4))
    after = memory.peak(cpu)
    assert after - before > 48 * 2**20
    del large
    assert memory.peak(cpu) >= after - 2**20


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"), ", 20.00 GiB asked for"),
        (
            RuntimeError("can't allocate memory: you tried to allocate 64 bytes."),
            ", 64 bytes asked",
        ),
        (RuntimeError("Storage size calculation overflowed with sizes=[3]"), "; make trainer.batch_size"),
        (MemoryError(), "; make trainer.batch_size"),
    ],
)
def test_memory_that_does_not_suffice_is_a_users_matter(error: Exception, asked: str) -> None:
    with pytest.raises(UserError, match=f"^Memory does not suffice{asked}"), memory.sufficing():
        raise error


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), memory.sufficing():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
