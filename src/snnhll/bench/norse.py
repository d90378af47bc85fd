"""Norse: a sequence of modules with explicit state, called once a time step."""

from __future__ import annotations

import norse.torch as norse
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from torch import Tensor, nn

from snnhll.bench.peer import Peer, Reset

DT = 0.001  # Norse's time step in seconds


class Network(Peer):
    """The default neuron is LIFBoxCell with the SuperSpike surrogate and a decay of 0.5 a step.

    It is Norse's leanest LIF: without the synaptic current of LIFCell, which no other framework here has.
    """

    @staticmethod
    def default_neuron() -> nn.Module:
        return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(0.5 / DT)))

    @staticmethod
    def matching_neuron(reset: Reset, decay: float) -> nn.Module:
        """The membrane here is ours times 1 - decay, and so is the threshold."""
        share = torch.tensor(1 - decay, dtype=torch.float64)
        method = reset_value if reset == "hard" else reset_subtract
        return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=share / DT, v_th=share, reset_method=method))

    def container(self, parts: list[nn.Module]) -> nn.Module:
        return norse.SequentialState(*parts)

    def forward(self, images: Tensor) -> Tensor:
        logits, state = [], None
        for _ in range(self.steps):
            out, state = self.net(images, state)
            logits.append(out)
        return torch.stack(logits).mean(0)
