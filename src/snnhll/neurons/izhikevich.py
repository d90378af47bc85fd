"""Izhikevich's neuron (Izhikevich 2003): two equations, four parameters, the firing patterns of cortex.

    dv/dt = 0.04 v² + 5 v + 140 - u + I      (2-8), mV and ms
    du/dt = a (b v - u)                      (2-9)
    v >= 30 mV:  v <- c,  u <- u + d         (2-10)

in explicit Euler steps, v before u, as in the code that the papers were published with. `preset` names a cell type of
Izhikevich 2003, figure 2, or a firing pattern of Izhikevich 2004 (Which model to use for cortical spiking neurons?),
figure 1, with the current that shows it there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.errors import UserError
from snnhll.neurons.biophysical import Biophysical
from snnhll.neurons.neuron import State
from snnhll.neurons.recording import Pieces, Recording
from snnhll.surrogates.surrogate import Surrogate

LOWEST = -90.0  # mV; integration must be stable down to here

Preset = Literal[
    "regular_spiking",
    "intrinsically_bursting",
    "chattering",
    "fast_spiking",
    "low_threshold_spiking",
    "thalamo_cortical",
    "resonator",
    "tonic_spiking",
    "phasic_spiking",
    "tonic_bursting",
    "phasic_bursting",
    "mixed_mode",
    "spike_frequency_adaptation",
    "spike_latency",
    "subthreshold_oscillations",
    "rebound_spike",
    "rebound_burst",
]


class Pattern(NamedTuple):
    """Parameters of a firing pattern and the current that shows it, (ms, current) of each piece."""

    a: float
    b: float
    c: float
    d: float
    current: Pieces


STEP: Pieces = ((20, 0), (180, 10))
PATTERNS: dict[Preset, Pattern] = {
    # Izhikevich 2003, figure 2
    "regular_spiking": Pattern(0.02, 0.2, -65, 8, STEP),
    "intrinsically_bursting": Pattern(0.02, 0.2, -55, 4, STEP),
    "chattering": Pattern(0.02, 0.2, -50, 2, STEP),
    "fast_spiking": Pattern(0.1, 0.2, -65, 2, STEP),
    "low_threshold_spiking": Pattern(0.02, 0.25, -65, 2, STEP),
    "thalamo_cortical": Pattern(0.02, 0.25, -65, 0.05, ((20, 0), (80, 1.5), (40, 0), (60, -10), (100, 0))),
    "resonator": Pattern(0.1, 0.26, -65, 2, ((20, 0), (80, 0.2), (2, 4), (98, 0.2))),
    # Izhikevich 2004, figure 1
    "tonic_spiking": Pattern(0.02, 0.2, -65, 6, ((10, 0), (90, 14))),
    "phasic_spiking": Pattern(0.02, 0.25, -65, 6, ((20, 0), (180, 0.5))),
    "tonic_bursting": Pattern(0.02, 0.2, -50, 2, ((22, 0), (198, 15))),
    "phasic_bursting": Pattern(0.02, 0.25, -55, 0.05, ((20, 0), (180, 0.6))),
    "mixed_mode": Pattern(0.02, 0.2, -55, 4, ((16, 0), (144, 10))),
    "spike_frequency_adaptation": Pattern(0.01, 0.2, -65, 8, ((8.5, 0), (76.5, 30))),
    "spike_latency": Pattern(0.02, 0.2, -65, 6, ((10, 0), (3, 7.04), (87, 0))),
    "subthreshold_oscillations": Pattern(0.05, 0.26, -60, 0, ((20, 0), (5, 2), (175, 0))),
    "rebound_spike": Pattern(0.03, 0.25, -60, 4, ((20, 0), (5, -15), (175, 0))),
    "rebound_burst": Pattern(0.03, 0.25, -52, 0, ((20, 0), (5, -15), (175, 0))),
}


class Izhikevich(Biophysical):
    """preset: firing pattern. a, b, c, d: in place of the preset's, where given. dt, duration, gain: see Biophysical.

    State: v, u; it starts at rest. Raises UserError where dt is unstable, c does not reset below the threshold, or
    the parameters have no resting potential.
    """

    v_th: ClassVar[float] = 30.0
    scale: ClassVar[float] = 100.0

    def __init__(
        self,
        surrogate: Surrogate,
        preset: Preset = "regular_spiking",
        a: float | None = None,
        b: float | None = None,
        c: float | None = None,
        d: float | None = None,
        dt: Positive = 0.25,
        duration: Positive = 2.0,
        gain: Positive = 20.0,
    ) -> None:
        super().__init__(surrogate, dt, duration, gain)
        own = PATTERNS[preset]
        given = zip((a, b, c, d), own[:4], strict=True)
        self.a, self.b, self.c, self.d = (default if value is None else value for value, default in given)
        self.current = own.current
        limit = min(2 / abs(0.08 * LOWEST + 5), 2 / max(self.a, 1e-9))
        if dt >= limit:
            raise UserError(
                f"neuron.dt: {dt:g} ms is an unstable step for these equations; it must be below {limit:.3g} ms."
            )
        if not self.a > 0:
            raise UserError(f"neuron.a: {self.a:g}, but 1/a is a time constant in ms; expected a number > 0.")
        if self.c >= self.v_th:
            raise UserError(f"neuron.c: {self.c:g} mV is not below the threshold of {self.v_th:g} mV.")
        slope = 5 - self.b
        if slope**2 < 4 * 0.04 * 140:
            raise UserError(f"neuron.b: with {self.b:g} there is no resting potential; expected at most 0.267.")
        self.rest = (-slope - math.sqrt(slope**2 - 4 * 0.04 * 140)) / (2 * 0.04)

    def record(self, pieces: Pieces | None = None) -> Recording:
        """As for every neuron; a spike is drawn up to 30 mV, as it was published."""
        recording = super().record(pieces)
        return replace(recording, membrane=recording.membrane.clamp(max=self.v_th))

    @property
    def showing(self) -> Pieces:
        return self.current

    def start(self, current: Tensor) -> State:
        return torch.full_like(current, self.rest), torch.full_like(current, self.b * self.rest)

    def advance(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        v, u = state
        v = v + self.dt * (0.04 * v * v + 5 * v + 140 - u + current)
        u = u + self.dt * self.a * (self.b * v - u)
        fired = v.detach() >= self.v_th
        return v, (torch.where(fired, self.c, v), torch.where(fired, u + self.d, u))
