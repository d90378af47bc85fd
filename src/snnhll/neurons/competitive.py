"""LIF neurons of which at most one a layer fires at a step: the winner takes all (Diehl & Cook 2015).

    u[t] = λ v[t-1] + I[t],    s_j[t] = 1 for the neuron j of highest u_j[t], if that is >= v_th, else 0
    v_j[t] = 0 for the winner,    u_i[t] - inhibition for the others, or u_i[t] at a step without a winner

The spike of the winner stands for the round trip through an inhibitory population. It has no surrogate derivative:
rules that follow a gradient cannot train it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import NonNegative, Positive
from snnhll.neurons.lif import Decay
from snnhll.neurons.neuron import Neuron, State
from snnhll.surrogates.surrogate import Surrogate


class Competitive(Neuron):
    """decay: λ per time step. v_th: threshold. inhibition: what the winner takes from the membranes of the others."""

    differentiable: ClassVar[bool] = False

    def __init__(
        self, surrogate: Surrogate, decay: Decay = 0.95, v_th: Positive = 2.0, inhibition: NonNegative = 10.0
    ) -> None:
        super().__init__(surrogate)
        self.decay, self.v_th, self.inhibition = decay, v_th, inhibition

    def start(self, current: Tensor) -> State:
        return (torch.zeros_like(current),)

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        u = self.decay * state[0] + current
        flat = u.detach().flatten(1)
        highest, winner = flat.max(1, keepdim=True)
        s = (F.one_hot(winner[:, 0], flat.shape[1]) * (highest >= self.v_th)).to(u.dtype).view_as(u)
        anyone = s.flatten(1).sum(1).view(-1, *(1,) * (u.dim() - 1))
        return s, ((u - self.inhibition * anyone) * (1 - s),), u
