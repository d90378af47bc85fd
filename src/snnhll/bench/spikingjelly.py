"""SpikingJelly in multi-step mode: every layer sees all T steps at once."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Any, ClassVar

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from snnhll.bench.peer import Peer, Reset
from snnhll.bench.works import Work

AUTOMATIC = "automatic"


class Network(Peer):
    """The default neuron is LIFNode (τ = 2, hard reset) with its arctangent surrogate and a detached reset."""

    kinds: ClassVar[Any] = layer

    def __init__(self, work: Work, steps: int, matching: Reset | None = None, decay: float = 0.5) -> None:
        super().__init__(work, steps, matching, decay)
        functional.set_step_mode(self.net, "m")

    @staticmethod
    def default_neuron() -> nn.Module:
        return neuron.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True)

    @staticmethod
    def matching_neuron(reset: Reset, decay: float) -> nn.Module:
        v_reset = 0.0 if reset == "hard" else None
        return neuron.LIFNode(1 / (1 - decay), decay_input=False, v_reset=v_reset)

    def forward(self, images: Tensor) -> Tensor:
        functional.reset_net(self.net)
        return self.net(images.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)).mean(0)

    def use(self, backend: str) -> None:
        """Run the neurons by one of `backends()`. Raises what SpikingJelly raises when it does not support it."""
        if backend != AUTOMATIC:
            functional.set_backend(self.net, backend, neuron.LIFNode)


def backends() -> list[str]:
    """Return the ways in which the installed SpikingJelly can run its neurons on a GPU; 2.0 chooses by itself."""
    if "backend" not in inspect.signature(neuron.LIFNode.__init__).parameters:
        return [AUTOMATIC]
    return ["torch", *(name for name in ("cupy", "triton") if find_spec(name))]
