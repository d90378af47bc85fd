"""Direct feedback alignment (Nøkland 2016): every layer hears the output error itself (2-32..2-34).

    δ^l = (B^l e) ⊙ f'(a^l),    ΔW^l = -η δ^l h^{l-1}ᵀ,    e = softmax(y) - one-hot label

B^l is a fixed random matrix from the classes to layer l. sparsity sets that share of its entries to zero (sparse DFA,
Crafton et al. 2019). The readout descends cross-entropy on its detached input, which is (2-32).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import Tensor
from torch.nn import functional as F

from snnhll.build import Range
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.rules.feedback import Broadcast, output_error, teach
from snnhll.rules.pieces import in_pieces
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct


class DFARule(Rule):
    """Direct feedback of the output error. through_time: whether a layer's gradient crosses its own time steps."""

    residual: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        sparsity: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        through_time: bool = True,
    ) -> None:
        super().__init__(network)
        self.through_time = through_time
        self.feedback = Broadcast(network, sparsity)
        self.optimizers = [make_optimizer(network.parameters())]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        pieces = in_pieces(self.network, images, self.through_time)
        logits = self.network.classify(rate_of(pieces[-1].sent.detach()))
        loss = F.cross_entropy(logits, labels)
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        error = output_error(logits, labels)
        for i, piece in enumerate(pieces):
            teach(piece, self.feedback.to_layer(i, error))
        self.optimizers[0].step()
        return {"readout/pred": loss.detach(), "correct": correct(logits, labels)}
