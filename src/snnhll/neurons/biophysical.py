"""Neurons in millivolt and milliseconds, integrated in steps much shorter than a time step of the network.

A time step of the network lasts `duration` ms, during which the current is constant: `gain` times what the network
sends. It holds at most one spike. The surrogate sees the highest potential of the step, in units of the distance from
rest to peak, so that its width means the same as for the neurons of unit threshold:

    s = H(x),   x = (max over the step of v - v_th) / scale
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.errors import UserError
from snnhll.neurons.neuron import Neuron, State
from snnhll.neurons.recording import Pieces, Recording, unfold
from snnhll.surrogates.surrogate import Surrogate, spike


class Biophysical(Neuron):
    """dt: integration step, ms. duration: of a time step of the network, ms. gain: current of an input of 1.

    Subclasses give `rest`, `v_th` and `scale` in mV, `current_unit`, and one integration step. Raises UserError where a
    time step holds no whole number of integration steps.
    """

    rest: float
    v_th: ClassVar[float]
    scale: ClassVar[float]
    current_unit: ClassVar[str] = ""

    def __init__(self, surrogate: Surrogate, dt: Positive, duration: Positive, gain: Positive) -> None:
        super().__init__(surrogate)
        self.dt, self.gain = dt, gain
        self.substeps = round(duration / dt)
        if abs(self.substeps * dt - duration) > 1e-6 * duration:
            raise UserError(f"neuron.duration: {duration:g} ms is no whole number of steps of neuron.dt = {dt:g} ms.")

    @abstractmethod
    def advance(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        """Integrate by dt. current: [B, ...] in physical units. Returns the potential [B, ...] before a reset, and the
        state after it, the potential first."""

    @property
    def threshold(self) -> float:
        return self.v_th

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        below = (state[0] < self.v_th).to(current.dtype)  # else the spike is that of the step before
        peak, drive = None, self.gain * current
        for _ in range(self.substeps):
            v, state = self.advance(drive, state)
            peak = v if peak is None else torch.maximum(peak, v)
        assert peak is not None
        return below * spike((peak - self.v_th) / self.scale, self.surrogate), state, peak

    @property
    def showing(self) -> Pieces:
        """The current that shows what the neuron does: (ms, current) of each piece."""
        return ((20.0, 0.0), (180.0, 10.0))

    @torch.no_grad()
    def record(self, pieces: Pieces | None = None) -> Recording:
        """As for every neuron, but at every integration step; durations in ms, currents in physical units."""
        current = unfold(pieces or self.showing, self.dt)
        membrane, spikes, state = [], [], self.start(current[:1])
        for i in current:
            before = state[0]
            v, state = self.advance(i.view(1), state)
            membrane.append(v)
            spikes.append((before < self.v_th) & (v >= self.v_th))
        trace, fired = torch.cat(membrane), torch.cat(spikes).double()
        return Recording(self.dt, current, trace, fired, "ms", self.current_unit, "mV", self.v_th)
