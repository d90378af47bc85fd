"""What the other frameworks share: the layers of a network, and training by backpropagation through time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.bench.works import CLASSES, Work

Reset = Literal["hard", "soft"]


class Peer(nn.Module, ABC):
    """A network in another framework: images [B, C, H, W] to logits [B, CLASSES], the mean over T of a linear readout.

    Hidden weights start from the distribution ours start from, so that neurons fire about as much.

    matching: the reset under which its neurons are to compute ours, with `decay` a step and threshold 1; None for the
    framework's own defaults.
    """

    kinds: ClassVar[Any] = nn
    resets: ClassVar[tuple[Reset, ...]] = ("hard", "soft")

    def __init__(self, work: Work, steps: int, matching: Reset | None = None, decay: float = 0.5) -> None:
        super().__init__()
        self.steps = steps
        self.neurons: list[nn.Module] = []

        def neuron() -> nn.Module:
            self.neurons.append(self.default_neuron() if matching is None else self.matching_neuron(matching, decay))
            return self.neurons[-1]

        parts = modules(work, neuron, self.kinds)
        for hidden in (part for part in parts[:-1] if isinstance(part, nn.Conv2d | nn.Linear)):
            nn.init.kaiming_normal_(hidden.weight)
        self.net = self.container(parts)

    @staticmethod
    @abstractmethod
    def default_neuron() -> nn.Module:
        """Return the framework's LIF neuron as it comes, with a surrogate gradient."""

    @staticmethod
    @abstractmethod
    def matching_neuron(reset: Reset, decay: float) -> nn.Module:
        """Return the framework's LIF neuron set up to compute (3-1), (3-2)."""

    def container(self, parts: list[nn.Module]) -> nn.Module:
        """Return the parts as one module."""
        return nn.Sequential(*parts)

    @torch.no_grad()
    def spikes(self, images: Tensor) -> list[Tensor]:
        """Return the spikes of every layer, flattened from [T, B, ...]."""
        seen: list[list[Tensor]] = [[] for _ in self.neurons]
        hooks = [
            neuron.register_forward_hook(lambda _, __, out, i=i: seen[i].append(_first(out)))
            for i, neuron in enumerate(self.neurons)
        ]
        self(images)
        for hook in hooks:
            hook.remove()
        return [torch.cat([part.flatten() for part in parts]) for parts in seen]


def modules(work: Work, neuron: Callable[[], nn.Module], kinds: Any) -> list[nn.Module]:
    """Return the modules of a work, each hidden layer as synapse, normalisation, neuron and pooling.

    kinds: the namespace that has Conv2d, Linear, BatchNorm1d, BatchNorm2d, MaxPool2d and Flatten.
    """
    parts: list[nn.Module] = []
    normed = work.norm == "batch"
    maps = True
    for layer in work.layers():
        if layer.kind == "conv":
            channels, padding = layer.in_shape[0], layer.kernel // 2
            parts.append(kinds.Conv2d(channels, layer.units, layer.kernel, layer.stride, padding, bias=not normed))
        else:
            parts += [kinds.Flatten()] if maps else []
            parts.append(kinds.Linear(layer.in_shape[0], layer.units, bias=not normed))
        maps = layer.kind == "conv"
        if normed:
            parts.append((kinds.BatchNorm2d if maps else kinds.BatchNorm1d)(layer.units))
        parts.append(neuron())
        if layer.pool > 1:
            parts.append(kinds.MaxPool2d(layer.pool))
    return [*parts, *([kinds.Flatten()] if maps else []), kinds.Linear(_features(work), CLASSES)]


def trainer(peer: Peer, setting: str) -> Callable[[Tensor, Tensor], object]:
    """Return a function that trains on one batch by surrogate gradients through all T steps, with Adam.

    setting: "default", or "bf16 channels_last": autocast to bfloat16, weights and images channels_last.
    """
    fast = setting != "default"
    if fast:
        peer.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(peer.parameters(), lr=5e-4, fused=True)

    def step(images: Tensor, labels: Tensor) -> object:
        if fast:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=fast):
            logits = peer(images)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _features(work: Work) -> int:
    return int(torch.tensor(work.layers()[-1].pooled_shape).prod())


def _first(out: Any) -> Tensor:
    """Return the spikes of a neuron that answers with its state beside them, or without."""
    return out[0] if isinstance(out, tuple) else out
