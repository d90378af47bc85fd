"""Local learning whose classification reads every layer, not the last alone (Hinton 2022 reads all but the first).

    logits = W [pool(r^1), ..., pool(r^L)] + b

with the rates r^l that layers send on, detached, maps average-pooled. W descends cross-entropy; nothing is sent back.
Layers, and the readout of the last one that the network keeps, learn as under rule=local. The network alone, as
`snnhll.load` returns it, classifies by that readout; operations and parameters of a result are the network's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.build import PositiveInt
from snnhll.errors import UserError
from snnhll.losses.features import pooled, pooled_length, pooled_side
from snnhll.losses.hybrid import HybridLoss
from snnhll.networks.network import Network
from snnhll.networks.rates import Signal
from snnhll.networks.spec import Layer
from snnhll.rules.local import LocalRule, Update
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, correct, descend


class LocalAllRule(LocalRule):
    """head_size: the maps of a layer are average-pooled to at most so many values; null reads them as they are.

    Raises UserError for trainer.update=online, and for residual blocks.
    """

    residual: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        make_loss: Callable[[Layer], HybridLoss],
        make_optimizer: MakeOptimizer,
        update: Update = "accumulate",
        head_size: PositiveInt | None = 1024,
    ) -> None:
        super().__init__(network, make_loss, make_optimizer, update)
        if update == "online":
            raise UserError("trainer.update: local_all reads rates over all steps; use accumulate, final or rate.")
        shapes = [block.layer.pooled_shape for block in network.blocks]
        self.sides = [None if head_size is None else pooled_side(shape, head_size) for shape in shapes]
        self.reader = nn.Linear(sum(map(pooled_length, shapes, self.sides)), network.classes)
        self.reader_optimizer = make_optimizer(self.reader.parameters())
        self.optimizers.append(self.reader_optimizer)

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        targets, metrics = self.prepare(images, labels), Metrics()
        signal, sent = Signal(self.network.encode(images)), []
        for unit in self.units:
            signal = self.learn_layer(unit, signal, targets, metrics)
            sent.append(signal.rate)
        self.learn_readout(signal, labels)
        logits = self.read(sent)
        loss = F.cross_entropy(logits, labels)
        descend(self.reader_optimizer, loss)
        return metrics | {"readout/pred": loss.detach(), "correct": correct(logits, labels)}

    def read(self, rates: list[Tensor]) -> Tensor:
        """Return logits [B, classes] for the rates [B, ...] that the layers send on."""
        features = [pooled(rate, side).flatten(1) for rate, side in zip(rates, self.sides, strict=True)]
        return self.reader(torch.cat([each.to(self.reader.weight.dtype) for each in features], 1))

    @property
    def classifier(self) -> None:
        return None  # more than the network's own pass takes part in it

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        own = super().evaluate(images)
        sent = own.inference.inputs[1:]
        return Outcome(replace(own.inference, logits=self.read(sent)), own.layer_logits)
