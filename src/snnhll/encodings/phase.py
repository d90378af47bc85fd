"""Phase encoding (section 2.1.2): where in a periodic signal a pixel fires carries its value.

    s[t] = 1 where t mod P = round((1 - p) (P - 1))

once a period of P steps, the brighter the earlier in it. Black pixels send nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.build import Fraction, PositiveInt
from snnhll.encodings.encoding import Encoding
from snnhll.encodings.latency import from_first_spike
from snnhll.errors import UserError


class Phase(Encoding):
    """period: P, time steps. Pixels up to `dark` send nothing. Read back by the first spike, to within 1/(2 (P - 1)).

    Raises UserError where a period does not fit into the steps of the network.
    """

    def __init__(self, period: PositiveInt = 5, dark: Fraction = 0.0) -> None:
        super().__init__()
        self.period, self.dark = period, dark

    def code(self, images: Tensor, steps: int) -> Tensor:
        if self.period > steps:
            raise UserError(f"encoding.period: {self.period} steps do not fit into trainer.steps={steps}.")
        phase = ((1 - images) * (self.period - 1)).round()
        t = torch.arange(steps, device=images.device, dtype=images.dtype).view(-1, *(1,) * images.dim())
        return ((t % self.period == phase) & (images > self.dark)).to(images.dtype)

    def decode(self, coded: Tensor) -> Tensor:
        return from_first_spike(coded, self.period)
