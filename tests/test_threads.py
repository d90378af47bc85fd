"""Threads that one piece of work asks for end with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import snnhll
from snnhll import threads


@pytest.fixture(autouse=True)
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_threads_are_those_asked_for_and_afterwards_as_before() -> None:
    with threads.using(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 3


def test_threads_are_as_before_after_an_error_too() -> None:
    with pytest.raises(MemoryError), threads.using(2):
        raise MemoryError
    assert torch.get_num_threads() == 3


def test_a_run_leaves_the_threads_of_the_next_alone(tmp_path: Path) -> None:
    tiny = ["data.limit=20", "trainer.epochs=1", "trainer.steps=2", f"output_dir={tmp_path}", "tracking=none"]
    first = snnhll.train([*tiny, "threads=1"])
    second = snnhll.train([*tiny, "seed=1"])
    assert first.device.endswith("1 thread")
    assert second.device.endswith("3 threads")
