"""One spiking layer: synapse, normalisation, neurons; then dropout and pooling on the way to the next layer.

The local loss of a layer is taken on the spikes of `forward`, before dropout and pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.networks.bntt import BNTT
from snnhll.networks.norm import BatchNorm
from snnhll.networks.spec import Layer
from snnhll.networks.synapse import Synapse
from snnhll.neurons.neuron import Neuron, State, detach
from snnhll.ops import LIFSettings, lif_pooled, lif_step, pooled_apart

Norm = Literal["none", "batch", "weight", "bntt"]


class Block(nn.Module):
    """Layer `layer` with its neurons. Sequences are [S, B, ...] with S = T, or 1 for a constant input.

    norm: "batch" is over batch and time, "bntt" at every one of `steps` time steps for itself, "weight" standardises.
    """

    def __init__(self, layer: Layer, neuron: Neuron, norm: Norm, dropout: float, steps: int = 1) -> None:
        super().__init__()
        self.layer = layer
        self.synapse = Synapse(layer, bias=norm in ("none", "weight"), standardise=norm == "weight")
        self.norm = BatchNorm(layer.units) if norm == "batch" else None
        self.bntt = BNTT(layer.units, steps) if norm == "bntt" else None
        self.neuron = neuron
        self.dropout = dropout
        self.mask: Callable[[Tensor, float], Tensor] = dropout_mask

    def current(self, x: Tensor) -> Tensor:
        """Return the input current [S, B, ...] that x [S, B, ...] causes."""
        return self.normalised(self.synapse(x))

    def normalised(self, z: Tensor) -> Tensor:
        """Return the input current [S, B, ...] of weighted sums z [S, B, ...]; [T, B, ...] under norm="bntt"."""
        if self.bntt is not None:
            return self.bntt(z)
        return z.to(self.synapse.weight.dtype) if self.norm is None else self.norm(z)

    def forward(self, x: Tensor, steps: int, through_time: bool = False) -> Tensor:
        """Return the spikes [T, B, ...] in the precision of x, before dropout and pooling."""
        return self.fire(self.synapse(x), steps, through_time)

    def fire(self, z: Tensor, steps: int, through_time: bool = False) -> Tensor:
        """Return the spikes [T, B, ...] of weighted sums z [S, B, ...], in their precision."""
        if self.norm is not None:
            return self.neuron(z, steps, through_time, self.norm)
        return self.neuron(self.normalised(z), steps, through_time).to(z.dtype)

    def advance(self, z: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the spikes [B, ...] for weighted sums z [B, ...] of one time step, in their precision, and the
        state of the neurons after it, without a gradient. state: that before; None at the first step."""
        if self.compiled is not None:
            before = state[0] if state else None
            spikes, v = lif_step(z, before, self.compiled, self.neuron.surrogate, self.norm)
            return spikes, (v,)
        current = self.normalised(z.unsqueeze(0))[0]
        spikes, after, _ = self.neuron.step(current, state or self.neuron.start(current.detach()))
        return spikes.to(z.dtype), detach(after)

    def pooled(self, x: Tensor, steps: int, side: int) -> tuple[Tensor, Tensor]:
        """Return the spikes of `forward` without a gradient, [T, B, C, H, W], and, differentiable, the same
        average-pooled over space, [T, B, C, side, side]: all that a loss on pooled maps needs."""
        if self.norm is None or self.compiled is None:
            return pooled_apart(self(x, steps), side)
        return lif_pooled(self.synapse(x), steps, self.compiled, self.neuron.surrogate, self.norm, side)

    @property
    def compiled(self) -> LIFSettings | None:
        """Settings under which the compiled kernels compute the whole layer exactly; None where they do not."""
        return self.neuron.compiled if self.bntt is None else None

    @property
    def synapses(self) -> list[Synapse]:
        """Every synapse of the block, for counting operations."""
        return [self.synapse]

    def trace(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return membrane potentials and spikes, both [T, B, ...], for pictures."""
        return self.neuron.trace(self.current(x), steps)

    def gate(self, like: Tensor) -> Tensor | None:
        """Return the dropout mask [B, ...], scaled by 1/(1-p) and shared over time; None when nothing is dropped."""
        if not self.training or self.dropout == 0:
            return None
        return self.mask(like, self.dropout)

    def transmit(self, spikes: Tensor, gate: Tensor | None) -> Tensor:
        """Return what the next layer receives of spikes [S, B, ...]: gated, then max-pooled."""
        gate = None if gate is None else gate.to(spikes.dtype)
        if self.layer.pool == 1:
            return spikes if gate is None else spikes * gate
        # a step at a time, for the pooling writes eight bytes of index beside every value
        return torch.stack([F.max_pool2d(s if gate is None else s * gate, self.layer.pool) for s in spikes])


def dropout_mask(like: Tensor, p: float) -> Tensor:
    """Return a float32 mask shaped and laid out like `like` [B, C, H, W] or [B, F]: 0 with probability p, else 1/(1-p).

    Sixteen random bits decide an element, four elements a draw, which costs a fifth of a Bernoulli draw each; p is
    met to within 2^-17.
    """
    shape = like.movedim(1, -1).shape
    count = like.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    kept = words.view(torch.int16)[:count] >= min(round(p * 2**16), 2**16 - 1) - 2**15
    return (kept.to(torch.float32) / (1 - p)).view(shape).movedim(-1, 1)
