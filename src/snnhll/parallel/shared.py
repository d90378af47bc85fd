"""A rule that several processes learn together, as each of them has it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from snnhll.data.pipeline import Batch
from snnhll.losses.loss import Similarity
from snnhll.networks.network import Network
from snnhll.parallel.team import Team
from snnhll.rules.rule import Metrics, Outcome, Rule

Table = dict[str, Tensor]  # a metric's values over some steps, [steps], on the CPU


class SharedRule(Rule):
    """Learns `inner` together with the other processes of the team. In all else it is `inner`, of one process.

    Every process takes the same steps. At the same ones of them it calls `gathered`; after that the others wait, in
    `wait`, for the leader's next step or end, and hand over what they have learned when it asks for that.
    """

    def __init__(self, inner: Rule, team: Team) -> None:
        nn.Module.__init__(self)  # that of a rule would check the network anew
        self.inner, self.team = inner, team
        self.network, self.optimizers = inner.network, inner.optimizers
        self._others_wait = self._stale = False

    @abstractmethod
    def learn(self, images: Tensor, labels: Tensor) -> Metrics:
        """Do this process's part of a step on the whole batch. Returns its part of the metrics."""

    @abstractmethod
    def merged(self, tables: list[Table]) -> Table:
        """Return the metrics of the whole, of those of every process."""

    def learned(self) -> Any:
        """Return the state of what this process alone has learned; None where all have learned the same."""
        return None

    def take_over(self, states: list[Any]) -> None:
        """Make `inner` complete by what `learned` returned in every process."""

    def batches(self, source: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches of `source`, having looked ahead where that is of use."""
        yield from source

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        self.release()
        self._stale = True
        return self.learn(images, labels)

    def gathered(self, metrics: list[Metrics]) -> list[Metrics]:
        own = {name: torch.stack([m[name].float() for m in metrics]).cpu() for name in metrics[0]}
        tables = self.team.gather(own)
        self._others_wait = True
        if not tables:
            return []
        merged = self.merged(tables)
        return [{name: values[i] for name, values in merged.items()} for i in range(len(metrics))]

    def release(self) -> None:
        """Let processes that wait go on."""
        if self._others_wait and self.team.rank == 0:
            self.team.told("go on")
        self._others_wait = False

    def wait(self) -> None:
        """Wait for the leader's next step, or its end; meanwhile hand over what was learned."""
        while self.team.told() == "hand over":
            self.team.gather(self.learned())

    def completed(self) -> Rule:
        """Return `inner` with what every process has learned; for the leader, while the others wait."""
        if self._stale:
            assert self._others_wait, "what others learned can be had after `gathered` only"
            self.team.told("hand over")
            self.take_over(self.team.gather(self.learned()))
            self._stale = False
        return self.inner

    @property
    def trained(self) -> Network:
        return self.inner.trained

    def evaluate(self, images: Tensor) -> Outcome:
        return self.completed().evaluate(images)

    def loss_weights(self) -> dict[str, float]:
        return self.completed().loss_weights()

    def similarities(self, images: Tensor, labels: Tensor) -> list[Similarity]:
        return self.completed().similarities(images, labels)

    def checkpoint(self) -> dict[str, Any]:
        return self.completed().checkpoint()

    def restore(self, checkpoint: dict[str, Any]) -> None:
        self.inner.restore(checkpoint)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.completed().state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner.load_state_dict(*args, **kwargs)
