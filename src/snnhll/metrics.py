"""What is measured when a network is evaluated: accuracy, activity of every layer, operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from snnhll.networks.mode import evaluating
from snnhll.networks.network import Network
from snnhll.networks.synapse import Synapse
from snnhll.rules.rule import Rule

SATURATED = 0.95
MULTIPLY_ACCUMULATE, ACCUMULATE = 4.6e-3, 0.9e-3  # nJ, 32-bit floating point at 45 nm (Horowitz 2014, figure 1.1.9)


@dataclass
class Evaluation:
    """Accuracies as fractions, None of an empty split; lists run over the blocks. `layer_accuracy` also has the
    readout, last.

    rates: mean spikes a step of the blocks' own neurons, without those that a shortcut adds. silent, saturated: share
    of these neurons that never fired, or fired at 95 % of the steps or more, over all images. confusion: [classes,
    classes], true by predicted. inputs: mean presynaptic activity of each synapse of the blocks and, last, the readout.
    """

    accuracy: float | None
    layer_accuracy: list[float | None] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)
    saturated: list[float] = field(default_factory=list)
    inputs: list[float] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)


@torch.no_grad()
def evaluate(rule: Rule, batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Evaluation:
    """Evaluate a rule's network on batches of images [B, C, H, W] in [0, 1] and labels [B]."""
    sums: list[Tensor] = []
    inputs: list[Tensor] = []
    right: list[Tensor | None] = []
    confusion: Tensor | None = None
    count = 0
    with evaluating(rule):
        for images, labels in batches:
            outcome = rule.evaluate(images)
            inference = outcome.inference
            count += len(labels)
            pairs = labels * classes + inference.logits.argmax(1)
            if confusion is None:
                confusion = labels.new_zeros(classes * classes)
            confusion.scatter_add_(0, pairs, torch.ones_like(pairs))  # a bincount would wait for the device
            sums = _add(sums, [r.float().sum(0) for r in inference.fired])
            inputs = _add(inputs, [x.float().abs().mean() * len(labels) for x in inference.inputs])
            heads = [None if h is None else (h.argmax(1) == labels).sum() for h in outcome.layer_logits]
            right = [_plus(a, b) for a, b in zip(right, heads, strict=True)] if right else heads
    if confusion is None:
        return Evaluation(None)
    rule.network.encoding.check()
    table = confusion.view(classes, classes)
    accuracy = float(table.diagonal().sum()) / count
    rates = [s / count for s in sums]
    return Evaluation(
        accuracy,
        [*(None if r is None else float(r) / count for r in right), accuracy],
        [float(r.mean()) for r in rates],
        [float((r == 0).float().mean()) for r in rates],
        [float((r >= SATURATED).float().mean()) for r in rates],
        [float(x) / count for x in inputs],
        table.tolist(),
    )


def _add(sums: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    return [s + v for s, v in zip(sums, values, strict=True)] if sums else values


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def connections(synapse: Synapse) -> int:
    """Return the number of connections of a layer, counted at every position a convolution visits."""
    layer = synapse.layer
    positions = layer.out_shape[1] * layer.out_shape[2] if layer.kind == "conv" else 1
    return synapse.weight.numel() * positions


def operations(network: Network, inputs: list[float], ways_back: Sequence[int] = ()) -> tuple[float, float]:
    """Return synaptic operations (accumulates caused by spikes) and multiply-accumulates (of analog input) per image.

    A spike costs one accumulate per outgoing synapse and time step. The analog first input costs one
    multiply-accumulate per synapse, once an image when it is constant over time, as under direct encoding. inputs:
    `Evaluation.inputs`. ways_back: see `Rule`.
    """
    analog = float(connections(network.blocks[0].synapse)) if network.encoding.normalised else 0.0
    synapses = [connections(synapse) for block in network.blocks for synapse in block.synapses]
    synapses += [network.readout.weight.numel(), *ways_back]
    spiking = list(zip(synapses, inputs, strict=True))[1 if analog else 0 :]
    return sum(network.steps * rate * fan for fan, rate in spiking), analog


def energy(accumulates: float, multiplies: float) -> float:
    """Return the energy of an inference in nJ, of its arithmetic alone: what memory takes comes on top."""
    return ACCUMULATE * accumulates + MULTIPLY_ACCUMULATE * multiplies
