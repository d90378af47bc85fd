"""A forward pass in pieces: the graph of every layer ends at its own input.

Rules that bring an error to a layer by another way than through the layers above it (direct feedback, targets, local
classifiers) put it in at `sent` or `spikes`; what happens inside the layer is the surrogate gradient, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from snnhll.networks.block import Block
from snnhll.networks.network import Network


@dataclass(frozen=True)
class Piece:
    """One layer's part of a pass. source: its input [S, B, ...], cut off; spikes [T, B, ...]; sent: what leaves it."""

    block: Block
    source: Tensor
    spikes: Tensor
    sent: Tensor


def run_piece(network: Network, block: Block, source: Tensor, through_time: bool) -> Piece:
    """Run one layer on its input [S, B, ...]; gradients reach its own parameters only."""
    spikes = block(source.detach(), network.steps, through_time)
    sent = block.transmit(spikes, block.gate(spikes[0].detach()))
    return Piece(block, source.detach(), spikes, sent)


def in_pieces(network: Network, images: Tensor, through_time: bool) -> list[Piece]:
    """Run the network, one piece a layer. through_time: whether a layer's gradient crosses its own time steps."""
    x, pieces = network.encode(images), []
    for block in network.blocks:
        pieces.append(run_piece(network, block, x, through_time))
        x = pieces[-1].sent
    return pieces
