"""Feedback alignment (Lillicrap et al. 2016): errors travel back through fixed random weights (2-29..2-31).

    δ^L = e,    δ^l = (B^{l+1} δ^{l+1}) ⊙ f'(a^l),    ΔW^l = -η δ^l h^{l-1}ᵀ

B^{l+1} has the form of W^{l+1}, which it replaces on the way back, and is never trained. All else, time included, is
that of rule=bptt: with B = Wᵀ this is bptt.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.networks.synapse import Synapse
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.feedback import silent
from snnhll.rules.rule import MakeOptimizer


class FARule(BPTTRule):
    """Backpropagation with random feedback weights. through_time: whether errors also cross time steps."""

    residual: ClassVar[bool] = False

    def __init__(self, network: Network, make_optimizer: MakeOptimizer, through_time: bool = True) -> None:
        super().__init__(network, make_optimizer)
        self.through_time = through_time
        self.feedback: list[Synapse] = nn.ModuleList(  # type: ignore[assignment]
            Synapse(block.layer, bias=False).requires_grad_(False) for block in network.blocks[1:]
        )
        readout = network.readout
        self.readout_feedback = nn.Linear(readout.in_features, readout.out_features, bias=False).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of the network, whose gradient takes the random weights back."""
        net = self.network
        x = net.encode(images)
        for block, feedback in zip(net.blocks, [None, *self.feedback], strict=True):
            z = block.synapse(x.detach())
            if feedback is not None:  # the first layer sends no error on
                z = z + silent(feedback(x))
            spikes = block.fire(z, net.steps, self.through_time)
            x = block.transmit(spikes, block.gate(spikes[0].detach()))
        rate = rate_of(x)
        sent_back = self.readout_feedback(rate.flatten(1))
        return net.classify(rate.detach()) + silent(sent_back)
