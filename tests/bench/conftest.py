"""Networks small enough to train in milliseconds, and torch's thread count restored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from snnhll.bench.works import Work

TINY = {
    "mlp": Work("tiny mlp", "64-32-16-10", (1, 8, 8), "none", "digits"),
    "conv": Work("tiny conv", "32C3-32C3-P2-FC32-FC10", (1, 8, 8), "batch", "digits"),
}


@pytest.fixture(params=sorted(TINY))
def tiny(request: pytest.FixtureRequest) -> Work:
    return TINY[request.param]


@pytest.fixture(autouse=True)
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
