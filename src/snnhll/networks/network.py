"""A stack of spiking layers and a linear readout, with the encoding in front.

The network takes images with pixels in [0, 1] and normalises them itself, so that a trained network is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnhll.encodings.encoding import Encoding
from snnhll.networks.block import Block, Norm
from snnhll.networks.rates import Signal, rate_inference, rate_of
from snnhll.networks.residual import Residual
from snnhll.networks.spec import Layer
from snnhll.neurons.neuron import Neuron


@dataclass(frozen=True)
class Inference:
    """logits [B, classes]; rates: mean over time of each block's output, [B, ...]. inputs: that of what each
    synapse of the blocks received and, last, the readout. fired: that of the spikes of each block's own neurons, which
    are its output but where a shortcut adds spikes."""

    logits: Tensor
    rates: list[Tensor]
    inputs: list[Tensor]
    fired: list[Tensor]


class Network(nn.Module):
    """Blocks of spiking neurons and a linear readout on the spikes of the last one.

    mean, std: per-channel normalisation of the pixels, [C]. make_neuron: called once a layer. precision: dtype of
    synaptic products, of spikes and of their gradients; membranes, normalisation, rates and losses stay in float32.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        classes: int,
        steps: int,
        encoding: Encoding,
        make_neuron: Callable[[], Neuron],
        mean: Tensor,
        std: Tensor,
        norm: Norm = "batch",
        dropout: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.steps, self.classes, self.precision = steps, classes, precision
        self.encoding = encoding
        self.blocks: list[Block] = nn.ModuleList(  # type: ignore[assignment]
            Block(layer, make_neuron(), norm, dropout, steps)
            if layer.shortcut == "none"
            else Residual(layer, make_neuron, norm, dropout, steps)
            for layer in layers
        )
        features = int(torch.tensor(layers[-1].pooled_shape).prod())
        self.readout = nn.Linear(features, classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    def normalised(self, images: Tensor) -> Tensor:
        """Return images [B, C, H, W] with zero mean and unit variance per channel."""
        return (images - self.mean) / self.std

    def encode(self, images: Tensor) -> Tensor:
        """Return the input of the first layer, [S, B, C, H, W], for images [B, C, H, W] in [0, 1]."""
        x = self.normalised(images) if self.encoding.normalised else images
        coded = self.encoding(x, self.steps).to(self.precision)
        flat = coded.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return flat.unflatten(0, coded.shape[:2])

    def classify(self, x: Tensor) -> Tensor:
        """Return the readout's logits [..., B, classes] for last-layer spikes or rates [..., B, C, H, W] or [..., B,
        F]."""
        lead = x.dim() - len(self.blocks[-1].layer.pooled_shape)
        return self.readout(x.to(self.readout.weight.dtype).flatten(lead))

    def infer(self, images: Tensor) -> Inference:
        """Run the network for its T steps, one layer after another, keeping rates only."""
        signal = Signal(self.encode(images))
        rates, inputs, fired = [], [], []
        for block in self.blocks:
            rate, own, signal, received = self._infer(block, signal)
            rates.append(rate)
            fired.append(own)
            inputs += received
        return Inference(self.classify(signal.rate), rates, [*inputs, signal.rate], fired)

    def _infer(self, block: Block, signal: Signal) -> tuple[Tensor, Tensor, Signal, list[Tensor]]:
        """Return the rate of a block's output and that of its own neurons, the outgoing signal, and the rates that
        each of its synapses receives."""
        if not isinstance(block, Residual):
            rate, sent = rate_inference(block, signal, self.steps)
            return rate, rate, sent, [signal.rate]
        _, between = rate_inference(block.first, signal, self.steps)
        with torch.no_grad():
            own = block.second(signal.spikes, between.spikes, self.steps)
            spikes = block.join(signal.spikes, own, self.steps)
        sent = Signal(block.transmit(spikes, None))
        return rate_of(spikes), rate_of(own), sent, block.received(signal.rate, between.rate)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes], the mean over time of the readout; differentiable through time."""
        return self.classify(rate_of(self.spikes(images)))

    def spikes(self, images: Tensor) -> Tensor:
        """Return what the readout receives, [T, B, ...], in one differentiable pass through time and layers."""
        x = self.encode(images)
        for block in self.blocks:
            spikes = block(x, self.steps, through_time=True)
            x = block.transmit(spikes, block.gate(spikes[0].detach()))
        return x

    @torch.no_grad()
    def traces(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield membrane potentials and spikes of every layer, both [T, B, ...], for pictures."""
        x = self.encode(images)
        for block in self.blocks:
            membrane, spikes = block.trace(x, self.steps)
            yield membrane, spikes
            x = block.transmit(spikes.to(self.precision), None)
