"""Time to first spike (section 2.1.2): every pixel fires once, the brighter the earlier.

    s[t] = 1 at t = round((1 - p) (T - 1))

Black pixels send nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.build import Fraction
from snnhll.encodings.encoding import Encoding
from snnhll.encodings.latency import from_first_spike


class FirstSpike(Encoding):
    """One spike a pixel; pixels up to `dark` send none. Read back by its time, to within 1/(2 (T - 1))."""

    def __init__(self, dark: Fraction = 0.0) -> None:
        super().__init__()
        self.dark = dark

    def code(self, images: Tensor, steps: int) -> Tensor:
        time = ((1 - images) * (steps - 1)).round()
        t = torch.arange(steps, device=images.device, dtype=images.dtype).view(-1, *(1,) * images.dim())
        return ((t == time) & (images > self.dark)).to(images.dtype)

    def decode(self, coded: Tensor) -> Tensor:
        return from_first_spike(coded, len(coded))
