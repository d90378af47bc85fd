"""Residual blocks of two convolutional spiking layers, with one local loss a block.

    s1 = layer 1 of x,   I2 = current of layer 2 for s1
    spikes (SEW, Fang et al. 2021):  s2 = neurons(I2),         out = s2 + shortcut(x)
    membrane:                        out = neurons(I2 + shortcut(x))

The shortcut is x itself where the shapes agree; else a 1x1 convolution with the block's stride and normalisation,
followed by neurons of its own in the first case, where spikes are added. There `out` counts spikes: 0, 1, 2, ... The
second adds to the membrane, after MS-ResNet (Hu et al. 2021); there the sum of membranes passes on to the next block,
while here every block sends spikes, since nothing but spikes may cross between layers that learn locally.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from snnhll.networks.block import Block, Norm
from snnhll.networks.spec import Layer
from snnhll.networks.synapse import Synapse
from snnhll.neurons.neuron import Neuron
from snnhll.ops import pooled_apart


class Residual(Block):
    """`first`, then the synapse and neurons of this block; `shortcut` where the input has to be reshaped."""

    def __init__(
        self, layer: Layer, make_neuron: Callable[[], Neuron], norm: Norm, dropout: float, steps: int = 1
    ) -> None:
        plain = replace(layer, shortcut="none", pool=1)
        super().__init__(replace(plain, in_shape=plain.out_shape, stride=1), make_neuron(), norm, dropout, steps)
        self.layer = layer
        self.first = Block(plain, make_neuron(), norm, 0.0, steps)
        same = layer.in_shape == layer.out_shape
        self.shortcut = None if same else Block(replace(plain, kernel=1), make_neuron(), norm, 0.0, steps)

    @property
    def synapses(self) -> list[Synapse]:
        between = [self.first.synapse, self.synapse]
        return between if self.shortcut is None else [*between, self.shortcut.synapse]

    def received(self, x: Tensor, between: Tensor) -> list[Tensor]:
        """Return what each of `synapses` receives, for input x and spikes `between` of the first layer."""
        return [x, between] if self.shortcut is None else [x, between, x]

    def forward(self, x: Tensor, steps: int, through_time: bool = False) -> Tensor:
        between = self.first(x, steps, through_time)
        return self.join(x, self.second(x, between, steps, through_time), steps, through_time)

    def pooled(self, x: Tensor, steps: int, side: int) -> tuple[Tensor, Tensor]:
        return pooled_apart(self(x, steps), side)

    def second(self, x: Tensor, between: Tensor, steps: int, through_time: bool = False) -> Tensor:
        """Return the spikes [T, B, ...] of the second neurons, for input x [T, B, ...] and spikes `between` [T, B, ...]
        of the first."""
        return self.neuron(self._driven(x, between), steps, through_time)

    def join(self, x: Tensor, spikes: Tensor, steps: int, through_time: bool = False) -> Tensor:
        """Return the output [T, B, ...] for input x [T, B, ...] and spikes [T, B, ...] of the second neurons."""
        return self._joined(spikes, x, lambda shortcut: shortcut(x, steps, through_time)).to(x.dtype)

    def trace(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        between = self.first.trace(x, steps)[1]
        membrane, spikes = self.neuron.trace(self._driven(x, between), steps)
        return membrane, self._joined(spikes, x, lambda shortcut: shortcut.trace(x, steps)[1])

    def _driven(self, x: Tensor, between: Tensor) -> Tensor:
        """Return the current of the second neurons, with the shortcut where it adds to membranes."""
        current = self.current(between.to(x.dtype))
        if self.layer.shortcut == "spikes":
            return current
        return current + (x.to(current.dtype) if self.shortcut is None else self.shortcut.current(x))

    def _joined(self, spikes: Tensor, x: Tensor, run: Callable[[Block], Tensor]) -> Tensor:
        """Return the output for spikes of the second neurons, with the shortcut, run by `run`, where it adds spikes."""
        if self.layer.shortcut == "membrane":
            return spikes
        return spikes + (x.to(spikes.dtype) if self.shortcut is None else run(self.shortcut))
