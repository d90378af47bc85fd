"""The information bottleneck in every layer, without backpropagation through the network (Guo & Lin 2021).

    L^l = -ln q(y | z^l) + β KL(p(z^l | x) || q(z^l)),    z^l = r^l + σ ε,    every layer descends its own L^l

which bounds β I(X; Z^l) - I(Z^l; Y) from above, up to the entropy of the labels, by a classifier q(y | z) and a prior
q(z) that belong to the layer (Alemi et al. 2017; snnhll/rules/bottleneck.py). r^l are the firing rates, maps of them
average-pooled; noise acts in the loss only, spikes travel on without it. The gradient is that of the layer's own
surrogate.

That every layer has a bottleneck of its own, and nothing is backpropagated, is the paper's, as the thesis quotes it.
The estimate of the information is our choice, a variational bound: the paper's text was not at hand.
"""

from __future__ import annotations

from torch import Tensor, nn

from snnhll.build import NonNegative, Positive, PositiveInt
from snnhll.losses.features import pooled, pooled_length
from snnhll.losses.prediction import PredictionLoss
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.networks.spec import Layer
from snnhll.rules.bottleneck import Prior, noisy
from snnhll.rules.ell import loss_of_steps, with_heads
from snnhll.rules.layerwise import LayerwiseRule
from snnhll.rules.pieces import Piece
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, descend


class Bottleneck(nn.Module):
    """What a layer learns with: a classifier of its noisy rates and a prior of them."""

    def __init__(self, layer: Layer, classes: int, head_size: int | None, sigma: float) -> None:
        super().__init__()
        self.classifier = PredictionLoss(layer, classes, head_size)
        self.prior = Prior(pooled_length(layer.out_shape, self.classifier.side), sigma)


class IBRule(LayerwiseRule):
    """beta: β, the price of a nat kept of the input. sigma: σ, noise of the rates, in spikes a step.

    head_size: maps are average-pooled to at most so many features. through_time: whether a layer's gradient crosses its
    own time steps.
    """

    heads: list[Bottleneck]  # type: ignore[assignment]

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        beta: NonNegative = 1e-3,
        sigma: Positive = 0.2,
        head_size: PositiveInt | None = 1024,
        through_time: bool = False,
    ) -> None:
        bottlenecks = [Bottleneck(block.layer, network.classes, head_size, sigma) for block in network.blocks]
        super().__init__(network, make_optimizer, list(bottlenecks), through_time)
        self.beta, self.sigma = beta, sigma

    def learn_layer(self, i: int, piece: Piece, labels: Tensor) -> Metrics:
        head = self.heads[i]
        rate = pooled(rate_of(piece.spikes), head.classifier.side)
        prediction = loss_of_steps(head.classifier, noisy(rate, self.sigma).unsqueeze(0), labels)
        information = head.prior.information(rate.flatten(1), self.sigma)
        descend(self.optimizers[i], prediction + self.beta * information)
        return {"pred": prediction.detach(), "information": information.detach()}

    def evaluate(self, images: Tensor) -> Outcome:
        return with_heads(self.network, [head.classifier for head in self.heads], images)
