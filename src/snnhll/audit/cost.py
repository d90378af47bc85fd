"""What a training step costs: tensors alive at most, by the number of time steps, and multiply-accumulates."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from snnhll.rules.rule import Rule

GROWTH = 0.02  # of the memory at T steps, for every further step: less than this is no growth


@dataclass(frozen=True)
class Cost:
    """bytes: what a step allocates at most at once, by T. operations: multiply-accumulates of matrix products and
    convolutions, forward and back, an image, at the larger T.

    temporally_local: whether memory does not grow with T.
    """

    bytes: dict[int, int]
    operations: float

    @property
    def temporally_local(self) -> bool:
        short, long = sorted(self.bytes)
        return self.bytes[long] - self.bytes[short] < GROWTH * (long - short) * self.bytes[short]


def measure(make: Callable[[int], Rule], steps: tuple[int, int], images: Tensor, labels: Tensor) -> Cost:
    """Measure one training step, at two numbers of time steps. make: from T to a fresh rule."""
    held: dict[int, int] = {}
    for T in steps:
        rule = make(T).train()
        rule.step(images, labels)  # what is allocated once, such as the memory of optimisers, is there by now
        with Meter() as meter:
            rule.network.encode = meter.uncounted(rule.network.encode)  # type: ignore[method-assign]
            rule.step(images, labels)
        held[T] = meter.peak
    return Cost(held, meter.operations / len(labels))


class Meter(TorchDispatchMode):
    """Counts bytes of tensors that operations made and that still live, now and at most, and multiply-accumulates."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.operations = 0.0
        self._counting = True
        self._known: set[int] = set()

    def uncounted(self, make: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return `make` with the memory of what it makes left out: that of the input belongs to the encoding."""

        def made(x: Tensor) -> Tensor:
            self._counting = False
            try:
                return make(x)
            finally:
                self._counting = True

        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = {storage._cdata for leaf in tree_leaves((args, kwargs)) if (storage := _storage(leaf)) is not None}
        for leaf in tree_leaves(result) if self._counting else []:
            storage = _storage(leaf)
            if storage is not None and storage._cdata not in given and storage._cdata not in self._known:
                self._count(storage)
        if (operation := func._overloadpacket) in flop_registry:
            self.operations += flop_registry[operation](*args, **kwargs, out_val=result) / 2
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size


def _storage(leaf: Any) -> torch.UntypedStorage | None:
    return leaf.untyped_storage() if isinstance(leaf, Tensor) else None
