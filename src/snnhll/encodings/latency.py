"""Latency encoding (section 2.1.2): the time between spikes carries the pixel, the brighter the shorter.

    n = 1 + round((1 - p) (T - 1)),    s[t] = 1 where n divides t + 1

A pixel of 1 fires at every step, a dim one only at the last. Black pixels send nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.build import Fraction
from snnhll.encodings.encoding import Encoding


class Latency(Encoding):
    """Spikes at equal intervals n; pixels up to `dark` send none. Read back by the first spike, at step n - 1."""

    def __init__(self, dark: Fraction = 0.0) -> None:
        super().__init__()
        self.dark = dark

    def code(self, images: Tensor, steps: int) -> Tensor:
        interval = 1 + ((1 - images) * (steps - 1)).round()
        t = torch.arange(1, steps + 1, device=images.device, dtype=images.dtype).view(-1, *(1,) * images.dim())
        return ((t % interval == 0) & (images > self.dark)).to(images.dtype)

    def decode(self, coded: Tensor) -> Tensor:
        return from_first_spike(coded, len(coded))


def from_first_spike(coded: Tensor, steps: int) -> Tensor:
    """Return 1 - t/(steps - 1) for the time t of the first spike of a sequence [S, ...], 0 where there is none."""
    first = coded.argmax(0).to(coded.dtype)
    return (1 - first / max(steps - 1, 1)) * (coded.amax(0) > 0)
