"""A module in another mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from snnhll.networks.bntt import BNTT
from snnhll.networks.norm import BatchNorm


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and back into the mode it was in."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


@contextmanager
def keeping_statistics(module: nn.Module) -> Iterator[None]:
    """Let batches that evaluation never sees leave the running statistics of normalisations as they are."""
    norms = [part for part in module.modules() if isinstance(part, BatchNorm | BNTT)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
