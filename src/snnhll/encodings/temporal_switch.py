"""Temporal switch coding (Han & Roy 2020): two spikes a pixel, the first switches its synapses on, the second off.

    x[t] = 1 for t < round(p T), else 0

The interval between the two spikes is proportional to the pixel. x is what a switched synapse conducts in between; the
spikes are where x changes. For the layers behind the first the paper has a neuron of its own, which is not built here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.encodings.encoding import Encoding


class TemporalSwitch(Encoding):
    """On from the start for a time proportional to the pixel. Read back by that time, to within 1/(2T)."""

    def code(self, images: Tensor, steps: int) -> Tensor:
        t = torch.arange(steps, device=images.device, dtype=images.dtype).view(-1, *(1,) * images.dim())
        return (t < (images * steps).round()).to(images.dtype)

    def decode(self, coded: Tensor) -> Tensor:
        return coded.mean(0)
