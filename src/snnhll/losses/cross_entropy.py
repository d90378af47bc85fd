"""Cross-entropy of class scores that are due at several time steps."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return Σ_t CE(y, y[t]), each the mean over samples, for scores [S * B, classes], step by step, and labels [B]."""
    steps = len(scores) // len(labels)
    if steps == 1:
        return F.cross_entropy(scores, labels)
    return F.cross_entropy(scores, labels.expand(steps, -1).flatten()) * steps
