"""Shared by all tests: a tiny problem, and builders of tiny networks, losses, rules and data."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from snnhll.assemble import Problem, build_rule
from snnhll.config import Config, compose
from snnhll.config import settings as checked
from snnhll.data.imageset import ImageSet
from snnhll.data.pipeline import Data
from snnhll.encodings.direct import Direct
from snnhll.networks.network import Network
from snnhll.networks.spec import parse
from snnhll.neurons.lif import LIF
from snnhll.rules.rule import Rule
from snnhll.surrogates.exponential import Exponential

# A busy machine is no failure of a property; the examples are the same in every run.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
MakeRule = Callable[..., Rule]
MakeData = Callable[..., Data]


class SavedTensors:
    """A context that counts what autograd keeps for backward passes: bytes of distinct storages, now and at most.

    A graph that is freed lets go of its tensors at once, so the count says which graphs are alive.
    """

    def __init__(self) -> None:
        self.bytes = self.peak = 0
        self._uses: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda held: held.tensor)

    def __enter__(self) -> SavedTensors:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, tensor: Tensor) -> _Held:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        held = _Held(tensor)
        weakref.finalize(held, self._release, place, size)
        self._uses[place] = self._uses.get(place, 0) + 1
        if self._uses[place] == 1:
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
        return held

    def _release(self, place: int, size: int) -> None:
        self._uses[place] -= 1
        if self._uses[place] == 0:
            self.bytes -= size


class _Held:
    """A saved tensor, in an object whose end can be noticed."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are too small to share among threads."""
    torch.set_num_threads(1)


@pytest.fixture
def saved_tensors() -> SavedTensors:
    return SavedTensors()


@pytest.fixture(scope="session")
def problem() -> Problem:
    """Grey images of 8x8 in 4 classes."""
    return Problem((1, 8, 8), 4, [0.5], [0.25])


def _make_network(
    problem: Problem,
    spec: str = "64-12-9-n",
    norm: Any = "none",
    dropout: float = 0.0,
    steps: int = 5,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    **neuron: Any,
) -> Network:
    torch.manual_seed(seed)
    lif = {"decay": 0.7, "v_th": 0.6} | neuron
    network = Network(
        parse(spec, problem.shape, problem.classes),
        problem.classes,
        steps,
        Direct(),
        lambda: LIF(**({"surrogate": Exponential()} | lif)),
        torch.tensor(problem.mean),
        torch.tensor(problem.std),
        norm,
        dropout,
        dtype,
    )
    return network if dtype == torch.bfloat16 else network.to(dtype)


@pytest.fixture(scope="session")
def make_network(problem: Problem) -> MakeNetwork:
    """A function from spec, norm, dropout, steps, dtype and LIF arguments to a network for `problem`."""
    return lambda *args, **kwargs: _make_network(problem, *args, **kwargs)


@pytest.fixture(scope="session")
def make_batch(problem: Problem) -> MakeBatch:
    """A function from the number of samples to images [B, 1, 8, 8] in [0, 1] and labels that take turns."""

    def make(samples: int = 12, dtype: torch.dtype = torch.float64, seed: int = 1) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        images = torch.rand(samples, *problem.shape, generator=draw, dtype=torch.float64)
        return images.to(dtype), torch.arange(samples) % problem.classes

    return make


@pytest.fixture(scope="session")
def make_rule(problem: Problem) -> MakeRule:
    """A function from overrides, as on the command line, and trainer.update to the rule they describe for `problem`."""
    composed: dict[tuple[str, ...], Config] = {}

    def make(*overrides: str, update: str = "accumulate", seed: int = 0) -> Rule:
        if overrides not in composed:
            composed[overrides] = compose(overrides)
        config = composed[overrides]
        config["trainer"]["update"] = update
        torch.manual_seed(seed)
        return build_rule(config, checked(config), problem)

    return make


@pytest.fixture(scope="session")
def make_data(problem: Problem) -> MakeData:
    """A function from sizes to data of four classes that a network can learn: a bright quadrant under noise."""

    def make(per_class: int = 20, batch_size: int = 8, seed: int = 0, validation: float = 0.2) -> Data:
        draw = torch.Generator().manual_seed(7)
        labels = torch.arange(problem.classes).repeat(per_class)
        images = torch.randint(0, 120, (len(labels), *problem.shape), generator=draw)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = divmod(label, 2)
            image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 100
        pixels = images.to(torch.uint8)
        names = tuple(f"quadrant {c}" for c in range(problem.classes))
        quadrants = ImageSet("quadrants", pixels, labels, pixels[:16], labels[:16], names)
        return Data(quadrants, batch_size=batch_size, seed=seed, validation=validation)

    return make


BARE = """
import runpy, sys
missing = "hydra omegaconf rich wandb yaml matplotlib torchvision sklearn"
sys.modules.update(dict.fromkeys(missing.split()))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def bare_python() -> list[str]:
    """The words that run a script as on a machine with torch alone: what else the package asks for is not there."""
    return [sys.executable, "-c", BARE]


@pytest.fixture(autouse=True)
def _allocator_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run sets the allocator of its process for good; in this one, other tests measure memory."""
    monkeypatch.setattr("snnhll.experiment.tune", lambda update: None)
