"""Nonlinear information bottleneck by surrogate-gradient backpropagation (Yang & Chen 2023, SNIB): a global rule.

    L = CE(y, W z) + β I(X; Z)^k,    z = r + σ ε,    r: rates that the last block sends

I is the pairwise bound (snnhll/rules/bottleneck.py), the estimate of the nonlinear information bottleneck (Kolchinsky
et al. 2019). k = 2, 3, 4 are the paper's squared, cubic and quartic bottleneck (SIB, CIB, QIB); 1 is the plain one.
The gradient goes through all layers and steps, as under rule=bptt, which this is at β = σ = 0. Noise acts in training
only.

Powers and surrogate gradients are the paper's, by its abstract. That the last layer is the one bottlenecked, and this
estimate, are our choice: the paper's text was not at hand.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from snnhll.build import NonNegative, Positive, Range
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.bottleneck import noisy, pairwise_information
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.rule import MakeOptimizer, Metrics, correct, descend


class SNIBRule(BPTTRule):
    """power: k. beta: β, the price of the information. sigma: σ, noise of the rates, in spikes a step."""

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        power: Annotated[int, Range(1, 4)] = 2,
        beta: NonNegative = 1e-2,
        sigma: Positive = 0.2,
    ) -> None:
        super().__init__(network, make_optimizer)
        self.power, self.beta, self.sigma = power, beta, sigma

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        sent = self.network.spikes(images)
        rate = rate_of(sent).flatten(1)
        logits = self.network.classify(noisy(rate, self.sigma))
        prediction = F.cross_entropy(logits, labels)
        information = pairwise_information(rate, self.sigma)
        descend(self.optimizers[0], prediction + self.beta * information**self.power)
        return {
            "readout/pred": prediction.detach(),
            "readout/information": information.detach(),
            "correct": correct(logits, labels),
        }
