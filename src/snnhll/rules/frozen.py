"""The control: hidden layers keep their random weights, only the readout learns. What a rule reaches beyond it, it
learned."""

from __future__ import annotations

from typing import ClassVar

import torch

from snnhll.rules.layerwise import LayerwiseRule
from snnhll.rules.pieces import Piece
from snnhll.rules.rule import Metrics


class FrozenRule(LayerwiseRule):
    """No block learns. Statistics of a normalisation do follow the data."""

    residual: ClassVar[bool] = True
    gradient: ClassVar[bool] = False

    @torch.no_grad()
    def learn_layer(self, i: int, piece: Piece, labels: torch.Tensor) -> Metrics:
        return {}
