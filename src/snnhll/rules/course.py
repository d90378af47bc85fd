"""A layer on its way through time, one step a call, that keeps no graph of the steps before.

With traces, the gradient of a step is that of all steps before it too, carried forward instead of backward: for a LIF
neuron whose reset is soft and detached, ∂u[t]/∂W is the low-pass filtered input,

    x̄[t] = λ x̄[t-1] + x[t],    ∂s[t]/∂W = ψ(u[t] - v_th) x̄[t],

the eligibility trace of e-prop (Bellec et al. 2020) and the presynaptic activity of OTTT (Xiao et al. 2022). The value
of the current stays W x[t]; only its gradient is that of W x̄[t]. Towards the layer below it is that of x[t] alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.networks.block import Block
from snnhll.networks.network import Network
from snnhll.neurons.lif import LIF
from snnhll.neurons.neuron import State
from snnhll.rules.feedback import silent


@dataclass
class Trace:
    """Low-pass filtered input x̄ [B, ...] of a layer, and of the constant input that its bias stands for."""

    decay: float
    received: Tensor | float = 0.0
    constant: float = 0.0

    def advance(self, x: Tensor) -> Tensor:
        """Return x̄[t] for the input x[t]; its gradient reaches x[t] only."""
        filtered = self.decay * self.received + x
        self.received = filtered.detach()
        self.constant = self.decay * self.constant + 1.0
        return filtered


class Course:
    """One layer between two time steps of one batch: neuron state, dropout mask and, if asked for, traces."""

    def __init__(self, block: Block, precision: torch.dtype, traced: bool = False) -> None:
        self.block, self.precision = block, precision
        self.state: State | None = None
        self.gate: Tensor | None = None
        self.trace = Trace(leak(block)) if traced else None

    def step(self, x: Tensor) -> Tensor:
        """Advance by one step with input x [B, ...]; returns the spikes [B, ...], with the graph of this step alone."""
        z = self._weighted(x)
        if self.state is None:
            self.gate = self.block.gate(z.detach())
        spikes, self.state = self.block.advance(z, self.state)
        return spikes

    def send(self, spikes: Tensor) -> Tensor:
        """Return what the next layer receives of the spikes [B, ...] of a step."""
        return self.block.transmit(spikes.unsqueeze(0), self.gate)[0].to(self.precision)

    def _weighted(self, x: Tensor) -> Tensor:
        """W x[t], with the gradient of W x̄[t] where there is a trace."""
        synapse = self.block.synapse
        if self.trace is None:
            return synapse(x.unsqueeze(0))[0]
        with torch.no_grad():
            z = synapse(x.unsqueeze(0))[0]
        way = synapse(self.trace.advance(x).unsqueeze(0))[0]
        if synapse.bias is not None:
            way = way + (self.trace.constant - 1) * synapse.bias.view(-1, *(1,) * (z.dim() - 2))
        return z + silent(way)


def leak(block: Block) -> float:
    """The decay λ of a layer's membrane. Raises UserError for neurons whose traces are not a plain low-pass filter."""
    settings = block.neuron.compiled
    if settings is None:
        raise UserError("neuron: traces need lif or if with a fixed decay; choose one, or a rule without traces.")
    if settings.reset != "soft":
        raise UserError(
            "neuron.reset: a hard reset would end traces at a spike, and those of this rule go on; use "
            "neuron.reset=soft, or a rule without traces."
        )
    if isinstance(block.neuron, LIF) and not block.neuron.detach_reset:
        raise UserError(
            "neuron.detach_reset: traces skip the reset; leave it true, or use a rule without traces, such as bptt."
        )
    return settings.decay


def run_courses(network: Network, traced: bool = False) -> list[Course]:
    """Return a fresh course for every layer of a network."""
    return [Course(block, network.precision, traced) for block in network.blocks]
