"""The loss of a layer: a weighted sum of terms (3-13..3-16)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from snnhll.losses.loss import Activity, Batch, Loss, Similarity
from snnhll.losses.weighting.fixed import Fixed
from snnhll.losses.weighting.weighting import Weighting


class HybridLoss(nn.Module):
    """Σ_k w_k L_k over the terms of one layer.

    weights: w_k as configured; weighting: what becomes of them, by default nothing. `side`: to which all terms have
    spikes average-pooled, where that is one and they look at nothing else; None otherwise.
    """

    def __init__(self, terms: dict[str, Loss], weights: dict[str, float], weighting: Weighting | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.weights = weights
        self.weighting = weighting or Fixed()
        sides = {term.side if vars(type(term)).get("pooled_only") else None for term in terms.values()}
        self.side = sides.pop() if len(sides) == 1 else None

    def prepare(self, batch: Batch) -> dict[str, Any]:
        """Return what each term needs of the batch; the same for every layer."""
        return {name: self._term(name).prepare(batch) for name in self.weights}

    def forward(
        self, activity: Activity, targets: dict[str, Any], shared: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return the weighted sum (None when no term is due at these steps) and the value of each term that was.

        shared: the layer's synaptic weights, where the sum is to be descended, so that the weighting may learn.
        """
        values = {
            name: self._term(name)(activity, targets[name])
            for name in self.weights
            if activity.last or not self._term(name).once
        }
        if not values:
            return None, {}
        if shared is not None:
            self.weighting.hear(values, activity.last, shared)
        weights = self.present_weights()
        total = functools.reduce(operator.add, (weights[name] * value for name, value in values.items()))
        return total, {name: value.detach() for name, value in values.items()}

    def present_weights(self) -> Mapping[str, float | Tensor]:
        """Return the weight of each term as it stands."""
        return self.weighting.weights(self.weights)

    def logits(self, rate: Tensor) -> Tensor | None:
        """Return the class scores of the first term that has a classifier, [B, classes], or None."""
        scores = (self._term(name).logits(rate) for name in self.weights)
        return next((s for s in scores if s is not None), None)

    def similarity_of(self, rate: Tensor, batch: Batch) -> Similarity | None:
        """Return that of the first term that compares samples, or None."""
        found = (self._term(name).similarity_of(rate, batch) for name in self.weights)
        return next((s for s in found if s is not None), None)

    def _term(self, name: str) -> Loss:
        term = self.terms[name]
        assert isinstance(term, Loss)
        return term
