"""The interface of every spiking neuron.

State is passed explicitly and starts fresh with every call of `forward`: nobody ever has to reset a neuron.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnhll.neurons.recording import Pieces, Recording, unfold
from snnhll.ops import BatchNormalisation, LIFSettings, check_steps
from snnhll.surrogates.surrogate import Surrogate

State = tuple[Tensor, ...]
SHOWING: Pieces = ((5, 0.0), (25, 0.7), (5, 0.0), (20, 1.2), (5, 0.0))  # steps and current


class Neuron(nn.Module, ABC):
    """Turns input current into spikes. Subclasses implement one time step; `membrane` is the first tensor of the
    state.

    differentiable: whether spikes carry the surrogate derivative.
    """

    differentiable: ClassVar[bool] = True

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.surrogate = surrogate

    @abstractmethod
    def start(self, current: Tensor) -> State:
        """Return the resting state for a current of shape [B, ...]."""

    @abstractmethod
    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        """Advance one time step.

        current: [B, ...]. Returns spikes [B, ...] in {0, 1}, the next state and the membrane potential at which the
        threshold was compared, [B, ...].
        """

    @property
    def compiled(self) -> LIFSettings | None:
        """Settings under which the compiled kernels compute this neuron exactly; None where they do not."""
        return None

    @property
    def threshold(self) -> float | None:
        """The membrane potential at which the neuron fires, for pictures; None where that is no constant."""
        return None if self.compiled is None else self.compiled.v_th

    def forward(
        self, current: Tensor, steps: int, through_time: bool = False, norm: BatchNormalisation | None = None
    ) -> Tensor:
        """Return spikes [T, B, ...] for currents [S, B, ...], S = T or 1 (a constant current), in their dtype.

        through_time: whether gradients flow from one time step to the one before (backpropagation through time).
        norm: makes the current of what is given, [S, B, C, ...]. Raises UserError when S is neither T nor 1.
        """
        if norm is not None:
            return self(norm(current), steps, through_time).to(current.dtype)
        check_steps(current, steps)
        spikes, state = [], self.start(current[0])
        for t in range(steps):
            s, state, _ = self.step(current[t % len(current)], state)
            spikes.append(s)
            if not through_time:
                state = detach(state)
        return torch.stack(spikes)

    @torch.no_grad()
    def trace(self, current: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return membrane potentials and spikes, both [T, B, ...], for pictures."""
        check_steps(current, steps)
        membranes, spikes, state = [], [], self.start(current[0])
        for t in range(steps):
            s, state, u = self.step(current[t % len(current)], state)
            spikes.append(s)
            membranes.append(u)
        return torch.stack(membranes), torch.stack(spikes)

    def record(self, pieces: Pieces | None = None) -> Recording:
        """Return what one neuron does under a current that is constant in pieces, by default one that shows it.

        pieces: (duration, current) of each; durations in time steps.
        """
        current = unfold(pieces or SHOWING, 1.0)
        membrane, spikes = self.trace(current.view(-1, 1, 1), len(current))
        return Recording(1.0, current, membrane.flatten(), spikes.flatten(), threshold=self.threshold)


def detach(state: State) -> State:
    """Return the state cut from the graph of earlier time steps."""
    return tuple(part.detach() for part in state)
