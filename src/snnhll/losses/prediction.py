"""Prediction loss (3-3, 3-4): a linear classifier on every layer, trained by cross-entropy.

y^l[t] = W_proj Flatten(s^l[t]),    L_pred = Σ_t CE(y, y^l[t]);    on rates: CE(y, W_proj Flatten(r^l))   (3-19)
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from snnhll.build import PositiveInt
from snnhll.losses.cross_entropy import cross_entropy
from snnhll.losses.features import pooled, pooled_length, pooled_side
from snnhll.losses.loss import Activity, Loss
from snnhll.networks.spec import Layer


class PredictionLoss(Loss):
    """Cross-entropy of the layer's own classifier.

    head_size: maps are average-pooled until channels x height x width is at most this; null flattens them as they are.
    """

    pooled_only: ClassVar[bool] = True

    def __init__(self, layer: Layer, classes: int, head_size: PositiveInt | None = 1024) -> None:
        super().__init__()
        self.side = None if head_size is None else pooled_side(layer.out_shape, head_size)
        self.classifier = nn.Linear(pooled_length(layer.out_shape, self.side), classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def logits(self, rate: Tensor) -> Tensor:
        return self.classifier(pooled(rate, self.side).flatten(1))

    def forward(self, activity: Activity, target: Any) -> Tensor:
        return cross_entropy(self.classifier(activity.pooled(self.side).flatten(1)), target)
