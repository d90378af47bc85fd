from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import settings

from snnhll.data.imageset import ImageSet

# A busy machine is no failure of a property.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

MakeSet = Callable[..., ImageSet]


def _make_set(labels: list[int], classes: int, test_labels: list[int] | None = None, side: int = 6) -> ImageSet:
    """A set whose images are told apart by their first pixel values: image i carries i in base 256."""
    draw = torch.Generator().manual_seed(0)
    test_labels = list(range(classes)) if test_labels is None else test_labels
    images = torch.randint(0, 256, (len(labels), 2, side, side), generator=draw, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(labels)) % 256
    images[:, 0, 0, 1] = torch.arange(len(labels)) // 256
    test = torch.randint(0, 256, (len(test_labels), 2, side, side), generator=draw, dtype=torch.uint8)
    names = tuple(f"class {c}" for c in range(classes))
    return ImageSet("made", images, torch.tensor(labels), test, torch.tensor(test_labels), names)


@pytest.fixture(scope="session")
def make_set() -> MakeSet:
    return _make_set


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
