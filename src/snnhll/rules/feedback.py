"""Fixed random weights that carry errors, and the trick that lets a gradient take another way than the value."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.rules.pieces import Piece


def silent(y: Tensor) -> Tensor:
    """Return zeros with the gradient of `y`: added to a value, they give its gradient another way."""
    return y - y.detach()


def output_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the error of the output layer, softmax(logits) - one-hot label over the batch size: dL/da^L of (2-29)."""
    return (logits.detach().softmax(-1) - F.one_hot(labels, logits.shape[-1])) / len(labels)


def teach(piece: Piece, heard: Tensor) -> None:
    """Put `heard` [B, ...] into a layer as if it were the gradient of the rates that it sends."""
    each = (heard / len(piece.sent)).to(piece.sent.dtype)
    torch.autograd.backward(piece.sent, each.expand_as(piece.sent))


class Broadcast(nn.Module):
    """One fixed random matrix from the classes to what each block sends: the B of (2-33).

    sparsity: share of the entries that are zero.
    """

    def __init__(self, network: Network, sparsity: float = 0.0) -> None:
        super().__init__()
        self.matrices: list[nn.Parameter] = nn.ParameterList(  # type: ignore[assignment]
            nn.Parameter(self._draw(network.classes, block.layer.pooled_shape, sparsity), requires_grad=False)
            for block in network.blocks
        )

    @staticmethod
    def _draw(classes: int, shape: tuple[int, ...], sparsity: float) -> Tensor:
        matrix = torch.randn(classes, *shape) / classes**0.5
        return matrix * (torch.rand_like(matrix) >= sparsity)

    def to_layer(self, i: int, error: Tensor) -> Tensor:
        """Return B_i error: what block i hears of an error [B, classes], shaped as what it sends, [B, ...]."""
        return torch.tensordot(error, self.matrices[i], 1)
