"""Rate encoding without chance (section 2.1.2): the number of spikes is proportional to the pixel, evenly spaced.

s[t] = floor((t+1) p + 1/2) - floor(t p + 1/2),    so that Σ_t s[t] = T p, rounded
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.encodings.encoding import Encoding


class Rate(Encoding):
    """Read back by the mean over time, to within 1/(2T)."""

    def code(self, images: Tensor, steps: int) -> Tensor:
        return evenly_spaced(images, steps)

    def decode(self, coded: Tensor) -> Tensor:
        return coded.mean(0)


def evenly_spaced(rates: Tensor, steps: int) -> Tensor:
    """Return spikes [T, ...] of rates [...] in [0, 1], in spikes per step."""
    t = torch.arange(steps + 1, device=rates.device, dtype=rates.dtype).view(-1, *(1,) * rates.dim())
    return (t * rates + 0.5).floor().diff(dim=0)
