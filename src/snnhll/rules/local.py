"""Local learning (chapter 3): every layer descends its own loss; nothing is propagated back through the network.

Update modes, after algorithm 3.1:

    online      at every time step: loss, gradient at t alone, weight update (3-5, 3-6, 3-17); nothing stored over time
    accumulate  the online gradients summed over t, one weight update a batch
    final       losses on rates after the last step (3-18..3-20), gradient through the layer's own T steps
    rate        losses on rates; the gradient's presynaptic term is a rate too (networks/rates.py)

All but online train one layer after another with its input detached, and free its graph before the next layer starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.loss import Activity, Batch, Similarity
from snnhll.networks.block import Block
from snnhll.networks.mode import evaluating
from snnhll.networks.network import Network
from snnhll.networks.rates import Signal, rate_forward, rate_of
from snnhll.networks.spec import Layer
from snnhll.ops import average_pool
from snnhll.optimizers.optimizer import Optimizer
from snnhll.rules.course import Course
from snnhll.rules.layerwise import learn_readout
from snnhll.rules.requirements import alike_at_every_step, plain_blocks
from snnhll.rules.rule import MakeOptimizer, Metrics, Outcome, Rule, correct, descend

Update = Literal["online", "accumulate", "final", "rate"]


@dataclass
class Unit:
    """A layer with its own loss and its own optimiser: all that its learning needs."""

    name: str
    block: Block
    loss: HybridLoss
    optimizer: Optimizer

    def judge(self, activity: Activity, targets: dict[str, Any], metrics: Metrics) -> Tensor | None:
        """Return the layer's loss on what it did, None where none is due, and add the terms' values to `metrics`."""
        total, values = self.loss(activity, targets, self.block.synapse.weight)
        for name, value in values.items():
            key = f"{self.name}/{name}"
            metrics[key] = metrics[key] + value if key in metrics else value
        return total

    def learn(self, total: Tensor | None) -> None:
        """Descend the loss that `judge` returned."""
        if total is not None:
            descend(self.optimizer, total)


@dataclass
class Running:
    """What an online layer carries between time steps: its course through them and, for losses that look at rates,
    counts of spikes and of inputs."""

    course: Course
    fired: Tensor | float = 0.0
    received: Tensor | float = 0.0


class LocalRule(Rule):
    """Local losses per layer, and a linear readout trained by cross-entropy on its detached input."""

    residual: ClassVar[bool] = True
    recordable: ClassVar[bool] = True
    local: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        make_loss: Callable[[Layer], HybridLoss],
        make_optimizer: MakeOptimizer,
        update: Update = "accumulate",
    ) -> None:
        super().__init__(network)
        if update in ("online", "rate"):
            plain_blocks(network)
        if update == "online":
            alike_at_every_step(network, "trainer.update=online")
        self.update = update
        self.losses: list[HybridLoss] = torch.nn.ModuleList(  # type: ignore[assignment]
            make_loss(block.layer) for block in network.blocks
        )
        self.units = []
        for i, (block, loss) in enumerate(zip(network.blocks, self.losses, strict=True), 1):
            optimizer = make_optimizer([*block.parameters(), *loss.parameters()])
            self.units.append(Unit(f"layer{i}", block, loss, optimizer))
        self.readout_optimizer = make_optimizer(network.readout.parameters())
        self.optimizers = [*(unit.optimizer for unit in self.units), self.readout_optimizer]

    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        targets = self.prepare(images, labels)
        if self.update == "online":
            return self._online(self.network.encode(images), labels, targets)
        metrics: Metrics = {}
        signal = Signal(self.network.encode(images))  # unnamed, so that it is free once the first layer has learnt
        for unit in self.units:
            signal = self.learn_layer(unit, signal, targets, metrics)
        return metrics | self.learn_readout(signal, labels)

    def prepare(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Return what the losses of every layer need of a batch."""
        return self.losses[0].prepare(Batch(images, labels, self.network.classes, self.network.normalised))

    def learn_layer(self, unit: Unit, signal: Signal, targets: dict[str, Any], metrics: Metrics) -> Signal:
        """Let one layer learn from the signal it receives, adding its losses to `metrics`. Returns what it sends on.

        It needs nothing of any other layer, so that a process may have this one alone (snnhll/parallel/stages.py).
        """
        activity, outgoing = self._run(unit, signal)
        total = unit.judge(activity, targets, metrics)
        del activity  # its maps are as large as the gradient, which is next
        unit.learn(total)
        return outgoing

    def _run(self, unit: Unit, signal: Signal) -> tuple[Activity, Signal]:
        """Run a layer over all steps. Returns what its loss sees and the detached signal to the next layer."""
        block, steps = unit.block, self.network.steps
        if self.update == "rate":
            rate, outgoing = rate_forward(block, signal, steps)
            return Activity.on_rates(rate, signal.rate), outgoing
        if self.update == "accumulate" and unit.loss.side is not None:
            spikes, maps = block.pooled(signal.spikes, steps, unit.loss.side)
            return Activity.on_pooled(maps, unit.loss.side), _sent(block, spikes)
        spikes = block(signal.spikes, steps, through_time=self.update == "final")
        rate = rate_of(spikes)
        if self.update == "final":
            return Activity.on_rates(rate, signal.rate), _sent(block, spikes)
        return Activity(spikes, rate, signal.rate), _sent(block, spikes)

    def learn_readout(self, signal: Signal, labels: Tensor) -> Metrics:
        """Train the readout on spikes step by step (accumulate) or on their rate, and predict by the mean over time."""
        received = signal.spikes if self.update == "accumulate" else signal.rate.unsqueeze(0)
        return learn_readout(self.network, self.readout_optimizer, received, labels)

    def _online(self, coded: Tensor, labels: Tensor, targets: dict[str, Any]) -> Metrics:
        """One time step through all layers at a time; every layer updates before the next one runs."""
        metrics: Metrics = {}
        carried: dict[str, Running] = {}
        logits = torch.zeros(len(labels), self.network.classes, device=labels.device)
        steps = self.network.steps
        for t in range(steps):
            x = coded[t % len(coded)]
            for unit in self.units:
                activity, x = self._step_unit(unit, x, carried, last=t == steps - 1)
                unit.learn(unit.judge(activity, targets, metrics))
            logits += self._learn_readout_online(x, labels, metrics)
        return metrics | {"correct": correct(logits, labels)}

    def _step_unit(self, unit: Unit, x: Tensor, carried: dict[str, Running], last: bool) -> tuple[Activity, Tensor]:
        steps = self.network.steps
        if unit.name not in carried:
            carried[unit.name] = Running(Course(unit.block, self.network.precision))
        own = carried[unit.name]
        spikes = own.course.step(x)
        if unit.loss.side is not None:
            maps = average_pool(spikes.unsqueeze(0), unit.loss.side)
            return Activity.on_pooled(maps, unit.loss.side, last), own.course.send(spikes.detach())
        wide = spikes.to(unit.block.synapse.weight.dtype)
        rate = (own.fired + wide) / steps
        own.fired, own.received = own.fired + wide.detach(), own.received + x.to(wide.dtype)
        return Activity(wide.unsqueeze(0), rate, own.received / steps, last), own.course.send(spikes.detach())

    def _learn_readout_online(self, x: Tensor, labels: Tensor, metrics: Metrics) -> Tensor:
        logits = self.network.classify(x)
        loss = F.cross_entropy(logits, labels)
        descend(self.readout_optimizer, loss)
        metrics["readout/pred"] = metrics.get("readout/pred", 0.0) + loss.detach()
        return logits.detach()

    def loss_weights(self) -> dict[str, float]:
        return {
            f"{unit.name}/{term}": float(weight)
            for unit in self.units
            for term, weight in unit.loss.present_weights().items()
        }

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Outcome:
        inference = self.network.infer(images)
        heads = [unit.loss.logits(rate.float()) for unit, rate in zip(self.units, inference.rates, strict=True)]
        return Outcome(inference, heads)

    @torch.no_grad()
    def similarities(self, images: Tensor, labels: Tensor) -> list[Similarity]:
        batch = Batch(images, labels, self.network.classes, self.network.normalised)
        with evaluating(self):
            rates = self.network.infer(images).rates
        found = (unit.loss.similarity_of(rate.float(), batch) for unit, rate in zip(self.units, rates, strict=True))
        return [similarity for similarity in found if similarity is not None]


@torch.no_grad()
def _sent(block: Block, spikes: Tensor) -> Signal:
    """Return what a block's spikes [T, B, ...] are to the next layer: gated, pooled, without a gradient."""
    return Signal(block.transmit(spikes.detach(), block.gate(spikes[0])))
