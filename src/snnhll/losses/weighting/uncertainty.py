"""Uncertainty weighting (Kendall, Gal & Cipolla 2018): every term has a noise σ_k² of its own, which is learned too.

    L = Σ_k L_k / (2 σ_k²) + log σ_k = Σ_k ½ exp(-s_k) L_k + ½ s_k,    s_k = log σ_k²,    w_k = ½ exp(-s_k)
    ∂L/∂s_k = ½ (1 - exp(-s_k) L_k)

For a cross-entropy the paper writes L_k / σ_k²: the same with s_k shifted by log 2, so the weights that are learned do
not differ. s_k starts at log L_k of the first batch whose L_k is not 0, where its gradient is zero, since losses differ
by orders of magnitude and a descent from elsewhere would take the training to arrive; until then w_k is 0. For the same
reason no step passes that optimum of its batch: from far below, the gradient is as large as L_k is unexpected.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.losses.weighting.weighting import TINY, Adaptive


class Uncertainty(Adaptive):
    """Weights that are the learned precision of each term. lr: of s, by plain gradient descent.

    Their sum is free: under an optimiser that does not normalise its steps (sgd), so is the length of a step.
    """

    log_variance: Tensor

    def __init__(self, weights: dict[str, float], lr: Positive = 0.025) -> None:
        super().__init__(weights)
        self.lr = lr
        self.register_buffer("log_variance", torch.full((len(weights),), torch.inf))

    def adapt(self, losses: Tensor, norms: Callable[[], Tensor]) -> None:
        optimum = losses.clamp(min=TINY).log()
        s = torch.where(self.log_variance.isinf() & (losses > TINY), optimum, self.log_variance)
        moved = s - self.lr * self.gradient(losses, s)
        self.log_variance.copy_(torch.where(s < optimum, moved.minimum(optimum), moved.maximum(optimum)))
        self.current.copy_(0.5 * torch.exp(-self.log_variance))

    @staticmethod
    def gradient(losses: Tensor, log_variance: Tensor) -> Tensor:
        """Return ∂L/∂s, [K]."""
        return 0.5 * (1 - torch.exp(-log_variance) * losses)
