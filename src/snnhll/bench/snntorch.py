"""snnTorch: neurons that keep their own state, called once a time step."""

from __future__ import annotations

from typing import ClassVar

import snntorch
import torch
from snntorch import utils
from torch import Tensor, nn

from snnhll.bench.peer import Peer, Reset


class Network(Peer):
    """The default neuron is Leaky (β = 0.5, soft reset one step late) with its arctangent surrogate.

    Its immediate soft reset is not ours: a membrane still above the threshold after a reset is reset once more.
    """

    resets: ClassVar[tuple[Reset, ...]] = ("hard",)

    @staticmethod
    def default_neuron() -> nn.Module:
        return snntorch.Leaky(beta=0.5, init_hidden=True)

    @staticmethod
    def matching_neuron(reset: Reset, decay: float) -> nn.Module:
        mechanism = {"hard": "zero"}[reset]
        # its own surrogates answer in float32 whatever the membrane's dtype
        return snntorch.Leaky(decay, 1.0, _heaviside, init_hidden=True, reset_mechanism=mechanism, reset_delay=False)

    def forward(self, images: Tensor) -> Tensor:
        utils.reset(self.net)
        return torch.stack([self.net(images) for _ in range(self.steps)]).mean(0)


def _heaviside(x: Tensor) -> Tensor:
    return (x >= 0).to(x.dtype)
