"""Equal magnitudes: the principle by which the thesis chose its weights by hand, followed automatically.

    w_k ∝ 1 / m_k,    m_k: running mean of L_k,    Σ_k w_k as configured

so that every w_k m_k is the same. The thesis reasons in this way from the similarity loss being nearly two orders above
the cross-entropy to the weights 0.99 and 0.01.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from snnhll.build import Range
from snnhll.losses.weighting.weighting import TINY, Adaptive, with_sum


class Scale(Adaptive):
    """Weights that are inverse to the running mean of each loss. decay: of that mean, a batch."""

    mean: Tensor

    def __init__(self, weights: dict[str, float], decay: Annotated[float, Range(0, 1, open_high=True)] = 0.99) -> None:
        super().__init__(weights)
        self.decay, self.total = decay, sum(weights.values())
        self.register_buffer("mean", torch.zeros(len(weights)))

    def adapt(self, losses: Tensor, norms: Callable[[], Tensor]) -> None:
        # the mean starts at 0, which makes it too small by one factor for all terms: none of it is left in the weights
        self.mean.mul_(self.decay).add_((1 - self.decay) * losses)
        self.current.copy_(with_sum(1 / self.mean.clamp(min=TINY), self.total))
