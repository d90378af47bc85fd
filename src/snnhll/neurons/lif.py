"""Leaky integrate-and-fire, in discrete time.

    u[t] = λ (u[t-1] - v_th s[t-1]) + I[t]      (3-1), soft reset
    s[t] = H(u[t] - v_th)                       (3-2)

The decay λ = exp(-1/τ) acts after the reset. Hard reset (2-15) sets the potential of a neuron that fired to `v_reset`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snnhll.build import Positive, Range
from snnhll.errors import UserError
from snnhll.neurons.neuron import Neuron, State
from snnhll.ops import BatchNormalisation, LIFSettings, lif_sequence
from snnhll.surrogates.surrogate import Surrogate, spike

Decay = Annotated[float, Range(0, 1, open_low=True)]
ONE_STEP = math.exp(-1)  # λ of a time constant of one step, τ = 1


class LIF(Neuron):
    """LIF neuron (3-1), (3-2).

    decay: λ per time step. v_th: threshold. reset: "soft" subtracts v_th, "hard" sets v_reset. learnable_decay: train λ
    (through its logit, one value a layer). detach_reset: gradients through time skip the reset. Raises UserError for a
    v_reset that is not below the threshold, or that a soft reset would not read.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        decay: Decay = ONE_STEP,
        v_th: Positive = 1.0,
        reset: Literal["soft", "hard"] = "soft",
        v_reset: float = 0.0,
        learnable_decay: bool = False,
        detach_reset: bool = True,
    ) -> None:
        super().__init__(surrogate)
        if reset == "hard" and v_reset >= v_th:
            raise UserError(f"neuron.v_reset: {v_reset:g} is not below the threshold v_th = {v_th:g}.")
        if reset == "soft" and v_reset:
            raise UserError(f"neuron.v_reset: {v_reset:g}, which a soft reset does not read; add neuron.reset=hard.")
        self.settings = LIFSettings(decay, v_th, reset, v_reset)
        self.detach_reset = detach_reset
        self.decay_logit = nn.Parameter(torch.logit(torch.tensor(decay), eps=1e-6)) if learnable_decay else None

    @property
    def compiled(self) -> LIFSettings | None:
        return None if self.decay_logit is not None else self.settings

    @property
    def threshold(self) -> float:
        return self.settings.v_th

    @property
    def decay(self) -> Tensor | float:
        return self.settings.decay if self.decay_logit is None else torch.sigmoid(self.decay_logit)

    def start(self, current: Tensor) -> State:
        return (torch.zeros_like(current),)

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        u = self.decay * state[0] + current
        s = spike(u - self.settings.v_th, self.surrogate)
        fired = s.detach() if self.detach_reset else s
        if self.settings.reset == "soft":
            rest = u - self.settings.v_th * fired
        else:
            rest = u * (1 - fired) + self.settings.v_reset * fired
        return s, (rest,), u

    def forward(
        self, current: Tensor, steps: int, through_time: bool = False, norm: BatchNormalisation | None = None
    ) -> Tensor:
        if self.decay_logit is not None:
            return super().forward(current, steps, through_time, norm)
        return lif_sequence(current, steps, self.settings, self.surrogate, through_time, self.detach_reset, norm)
