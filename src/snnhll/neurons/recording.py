"""What a single neuron did under a current, for pictures and for comparison with published behaviour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Pieces = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Recording:
    """Current, membrane potential and spikes of one neuron, [N] each; `step` between them, in units of `time`."""

    step: float
    current: Tensor
    membrane: Tensor
    spikes: Tensor
    time: str = "time step"
    current_unit: str = ""
    membrane_unit: str = ""
    threshold: float | None = None

    @property
    def times(self) -> Tensor:
        """The time of each entry, [N]."""
        return torch.arange(len(self.current), dtype=torch.float64) * self.step

    @property
    def spike_times(self) -> list[float]:
        """The times at which the neuron fired."""
        return [float(t) for t in self.times[self.spikes > 0]]


def unfold(pieces: Pieces, step: float) -> Tensor:
    """Return the current [N] at every `step` of (duration, current) pieces; float64."""
    return torch.cat([torch.full((round(duration / step),), level, dtype=torch.float64) for duration, level in pieces])
