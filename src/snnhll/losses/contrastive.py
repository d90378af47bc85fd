"""Contrastive loss (3-12): pairs of one class attract, pairs of different classes repel up to a margin, on rates.

L_contrast = mean over i ≠ j of  y_ij D_ij² + (1 - y_ij) max(0, m - D_ij)²,   D_ij = || r_i - r_j ||
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import Positive
from snnhll.losses.loss import Activity, Batch, Loss

EPS = 1e-8


class ContrastiveLoss(Loss):
    """Contrastive loss on the flattened firing rates.

    normalise: scale every sample's rates to unit length first, so that distances and margin are on one scale; false
    takes them raw, as printed (then distances of convolutional rates lie far beyond any margin and only attraction
    acts). A silent sample has no direction, and gets no gradient there; it would be one of 1/√EPS times the usual.
    margin: m; two unit vectors of non-negative rates are at most √2 apart.
    """

    once: ClassVar[bool] = True

    def __init__(self, normalise: bool = True, margin: Positive = 1.0) -> None:
        super().__init__()
        self.normalise, self.margin = normalise, margin

    def prepare(self, batch: Batch) -> Tensor:
        labels = self.gathered(batch.labels)
        return labels[:, None] == labels[None, :]

    def forward(self, activity: Activity, target: Any) -> Tensor:
        r = activity.rate.flatten(1)
        if self.normalise:
            fired = (r.detach() != 0).any(1, keepdim=True)
            r = r / (r.square().sum(1, keepdim=True) + EPS).sqrt() * fired
        r = self.gathered(r)
        gram = r @ r.t()
        norms = gram.diagonal()
        squared = (norms[:, None] + norms[None, :] - 2 * gram).clamp(min=0)
        repelled = F.relu(self.margin - (squared + EPS).sqrt()).square()
        others = ~torch.eye(len(r), dtype=torch.bool, device=r.device)
        return (torch.where(target, squared, repelled) * others).sum() / max(len(r) * (len(r) - 1), 1)
