"""GradNorm (Chen, Badrinarayanan, Lee & Rabinovich 2018): terms pull equally hard, slow learners a little harder.

    G_k = ‖∂(w_k L_k)/∂W‖,    Ḡ = mean_k G_k,    r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0))
    L_grad = Σ_k | G_k - Ḡ r_k^α |  with Ḡ r_k^α held constant,  so  ∂L_grad/∂w_k = sign(G_k - Ḡ r_k^α) ‖∂L_k/∂W‖

W are the layer's own synaptic weights, L_k(0) the losses of its first batch. After every step the weights are scaled
back to their configured sum (the paper's is the number of terms). The step is taken in log w_k, where the gradient is
w_k ∂L_grad/∂w_k, and in units of Ḡ: weights stay positive, and `lr` does not hang on the scale of the losses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snnhll.build import NonNegative, Positive
from snnhll.losses.weighting.weighting import TINY, Adaptive, with_sum


class GradNorm(Adaptive):
    """Weights that draw the gradients of the terms to one length.

    alpha: α, how strongly a term that has come down less than the others is preferred; 0 for not at all. lr: step of
    log w. Costs one more backward pass for each term.
    """

    first: Tensor

    def __init__(self, weights: dict[str, float], alpha: NonNegative = 1.5, lr: Positive = 0.025) -> None:
        super().__init__(weights)
        self.alpha, self.lr, self.total = alpha, lr, sum(weights.values())
        self.register_buffer("first", torch.zeros(len(weights)))

    def adapt(self, losses: Tensor, norms: Callable[[], Tensor]) -> None:
        self.first.copy_(torch.where(self.first > 0, self.first, losses))
        lengths = norms()
        gradient = self.gradient(losses, lengths)
        step = self.lr * self.current * gradient / (self.current * lengths).mean().clamp(min=TINY)
        self.current.copy_(with_sum(self.current * torch.exp(-step), self.total))

    def gradient(self, losses: Tensor, lengths: Tensor) -> Tensor:
        """Return ∂L_grad/∂w, [K]. losses: L_k; lengths: ‖∂L_k/∂W‖."""
        pull = self.current * lengths
        left = losses / self.first.clamp(min=TINY)
        wanted = pull.mean() * (left / left.mean().clamp(min=TINY)) ** self.alpha
        return torch.sign(pull - wanted) * lengths
