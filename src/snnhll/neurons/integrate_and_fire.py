"""Integrate-and-fire: the LIF neuron without leak (λ = 1)."""

from __future__ import annotations

from typing import Literal

from snnhll.build import Positive
from snnhll.neurons.lif import LIF
from snnhll.surrogates.surrogate import Surrogate


class IF(LIF):
    """u[t] = u[t-1] - v_th s[t-1] + I[t]; arguments as for LIF."""

    def __init__(
        self,
        surrogate: Surrogate,
        v_th: Positive = 1.0,
        reset: Literal["soft", "hard"] = "soft",
        v_reset: float = 0.0,
        detach_reset: bool = True,
    ) -> None:
        super().__init__(surrogate, 1.0, v_th, reset, v_reset, detach_reset=detach_reset)
