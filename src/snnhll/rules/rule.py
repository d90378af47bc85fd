"""The interface of every learning rule: how a network learns from one batch.

The training loop knows nothing of losses, layers or time; a rule knows nothing of files, logging or epochs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snnhll.losses.loss import Similarity
from snnhll.networks.network import Inference, Network
from snnhll.optimizers.optimizer import Optimizer
from snnhll.rules.requirements import differentiable, plain_blocks

Metrics = dict[str, Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Outcome:
    """What a network says of a batch. layer_logits: class scores of each block's own head, None where it has none."""

    inference: Inference
    layer_logits: list[Tensor | None]


class Rule(nn.Module, ABC):
    """A network with the means to train it. `optimizers` is the list of all optimisers the rule steps.

    residual: whether it trains residual blocks. gradient: whether it follows the surrogate derivative of the neurons;
    where not, a choice of surrogate is refused, unless an attack follows it.
    recordable: whether each step does the same operations, so that they can be replayed (snnhll/graphs.py).
    local: whether every layer learns without waiting for another's error; `snnhll audit` measures it, pictures show it.
    What a rule cannot train it refuses with a UserError.
    """

    residual: ClassVar[bool] = False
    gradient: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    local: ClassVar[bool] = False

    @classmethod
    def unread(cls, options: Mapping[str, Any]) -> set[str]:
        """Return the names of those of the rule's options that, as the others stand, it does not read."""
        return set()

    def __init__(self, network: Network) -> None:
        super().__init__()
        if not self.residual:
            plain_blocks(network)
        if self.gradient:
            differentiable(network)
        self.network = network
        self.optimizers: list[Optimizer] = []

    @property
    def trained(self) -> Network:
        """The network whose weights `step` changes; another than `network` where that one is made of it."""
        return self.network

    @abstractmethod
    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        """Learn from one batch: images [B, C, H, W] in [0, 1], labels [B].

        Returns scalars on the device, without synchronising it: `correct` (number of right predictions in the batch)
        and the value of each loss, named `layer3/pred` or `readout/pred`.
        """

    def gathered(self, metrics: list[Metrics]) -> list[Metrics]:
        """Return the metrics of the last steps, with those of other processes where several learn together."""
        return metrics

    @property
    def ways_back(self) -> list[int]:
        """Connections of each way by which feedback takes part in `evaluate`; what they receive follows what the
        network's own synapses do in its `Inference.inputs`."""
        return []

    @property
    def classifier(self) -> Network | None:
        """What attacks look into: the network, where `evaluate` classifies by its forward pass alone, else None."""
        return self.network

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        """Classify images [B, C, H, W] in [0, 1] without learning."""
        inference = self.network.infer(images)
        return Outcome(inference, [None] * len(inference.rates))

    def loss_weights(self) -> dict[str, float]:
        """Return the present weight of each term of each layer's loss, named `layer3/pred`; {} without local losses."""
        return {}

    def similarities(self, images: Tensor, labels: Tensor) -> list[Similarity]:
        """Return how alike the layers find the images of a batch; none unless the losses compare samples."""
        return []

    def scale_learning_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` times its configured value."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def checkpoint(self) -> dict[str, Any]:
        """Return everything a resumed run needs: weights, statistics, heads and optimiser states."""
        return {"module": self.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers]}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Take up the state that `checkpoint()` returned."""
        self.load_state_dict(checkpoint["module"])
        for optimizer, state in zip(self.optimizers, checkpoint["optimizers"], strict=True):
            optimizer.load_state_dict(state)


def descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Take one optimiser step down the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many of the predictions [B, classes] are right, as a scalar tensor."""
    return (logits.detach().argmax(-1) == labels).sum()
