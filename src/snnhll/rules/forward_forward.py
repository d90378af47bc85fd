"""The forward-forward algorithm (Hinton 2022): two forward passes, no backward one.

    goodness  g^l = Σ over neurons of (r^l)²
    L^l = softplus(θ n - g^l(positive)) + softplus(g^l(negative) - θ n),    n neurons

A positive sample is an image with its label written into it, a negative one has a wrong label: as many pixels as there
are classes, the first of the image, are black but for that of the label. Every layer tells them apart by its own
firing. Spikes cannot be rescaled between layers as in the paper; normalisation keeps goodness of one layer from the
next. The readout, which classifies, learns on the rates that plain images cause, and running statistics follow these.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import Positive
from snnhll.errors import UserError
from snnhll.networks.mode import keeping_statistics
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.layerwise import LayerwiseRule, learn_readout
from snnhll.rules.pieces import Piece, run_piece
from snnhll.rules.rule import MakeOptimizer, Metrics, descend


class ForwardForwardRule(LayerwiseRule):
    """Goodness of images with right and wrong labels. threshold: θ, goodness a neuron between the two."""

    def __init__(self, network: Network, make_optimizer: MakeOptimizer, threshold: Positive = 0.2) -> None:
        super().__init__(network, make_optimizer)
        self.threshold = threshold

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        wrong = (labels + torch.randint_like(labels, 1, self.network.classes)) % self.network.classes
        both = torch.cat([self.write(images, labels), self.write(images, wrong)])
        x, metrics = self.network.encode(both), Metrics()
        plain = self.network.encode(images)
        for i, block in enumerate(self.network.blocks):
            with keeping_statistics(block):
                piece = run_piece(self.network, block, x, self.through_time)
            metrics |= {f"layer{i + 1}/{k}": v for k, v in self.learn_layer(i, piece, labels).items()}
            x = piece.sent.detach()
            with torch.no_grad():
                plain = run_piece(self.network, block, plain, self.through_time).sent
        received = rate_of(plain).unsqueeze(0)
        return metrics | learn_readout(self.network, self.optimizers[-1], received, labels)

    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        rate = rate_of(piece.spikes).flatten(1)
        surplus = rate.square().sum(1) - self.threshold * rate.shape[1]
        right, wrong = surplus.chunk(2)
        loss = (F.softplus(-right) + F.softplus(wrong)).mean()
        descend(self.optimizers[i], loss)
        return {"goodness": loss.detach()}

    def write(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return images [B, C, H, W] with their labels in the first pixels of the first channel."""
        room = prod(images.shape[2:])
        if room < self.network.classes:
            raise UserError(
                f"rule=forward_forward writes the label into the image; {room} pixels are too few for "
                f"{self.network.classes} classes."
            )
        written = images.flatten(2).clone()
        written[:, 0, : self.network.classes] = F.one_hot(labels, self.network.classes).to(images.dtype)
        return written.view_as(images)
