"""One training step of a rule under a disturbance: what some layers compute is replaced, what others compute is held.

A layer is a block of the network or, last, its readout. Its activity is what its weighted sum gives at every call (and
what its normalisation makes of it): hooks on these modules record it, give it back, or give something else instead.
Nothing of a rule is declared; a rule is whatever `Rule.step` does to the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from snnhll.losses.hybrid import HybridLoss
from snnhll.networks.network import Network
from snnhll.rules.rule import Rule

Update = list[Tensor]


@dataclass(frozen=True)
class Disturbance:
    """Which layers are tampered with in a step.

    held: they give the activity they had in the undisturbed step. activity: they give that plus noise. weights: their
    synapses are drawn anew beforehand. losses: so are their heads, and the weights of their losses turn negative.
    """

    held: frozenset[int] = frozenset()
    activity: frozenset[int] = frozenset()
    weights: frozenset[int] = frozenset()
    losses: frozenset[int] = frozenset()


@dataclass
class Step:
    """What one step did. updates: the change of every layer's parameters. activity: what modules gave, call by call.

    events: in the order of execution, ("ran", layer) and ("changed", layer), a layer's weights having changed.
    """

    updates: list[Update]
    activity: dict[str, list[Tensor]] = field(default_factory=dict)
    events: list[tuple[str, int]] = field(default_factory=list)


class Bench:
    """A rule, copied for every step, with the batch that it learns from.

    Undisturbed steps come first: a head that starts at zero, for one, teaches its layer nothing in the first step.
    """

    def __init__(self, rule: Rule, images: Tensor, labels: Tensor, first: int = 2) -> None:
        self.rule, self.images, self.labels = rule.train(), images, labels
        for i in range(first):
            torch.manual_seed(1 + i)
            rule.step(images.flip(0), labels.flip(0))
        self.plain = self.step(Disturbance())
        self.layers = len(self.plain.updates)

    def step(self, disturbance: Disturbance) -> Step:
        """Let a copy of the rule take one step and return what became of its layers."""
        rule = copy.deepcopy(self.rule)
        tamper(rule, disturbance)
        network, before, step = rule.trained, snapshot(rule.trained), Step([])
        torch.manual_seed(0)
        with ExitStack() as stack:
            for i, name, module in modules(network):
                hook = partial(self._give, i, name, disturbance, network, before, step)
                stack.callback(module.register_forward_hook(hook).remove)
            rule.step(self.images, self.labels)
        note_changes(network, before, step)
        step.updates = [
            [after - old for after, old in zip(now, earlier, strict=True)]
            for now, earlier in zip(snapshot(network), before, strict=True)
        ]
        return step

    def changed(self, disturbance: Disturbance) -> list[bool]:
        """Return for every layer whether its update is another one, to the bit, than without the disturbance."""
        disturbed = self.step(disturbance).updates
        return [not same(a, b) for a, b in zip(disturbed, self.plain.updates, strict=True)]

    def _give(
        self,
        i: int,
        name: str,
        disturbance: Disturbance,
        network: Network,
        before: list[Update],
        step: Step,
        _module: nn.Module,
        _inputs: Any,
        output: Tensor,
    ) -> Tensor:
        """Note that a module ran and return what it is to give."""
        note_changes(network, before, step)
        step.events.append(("ran", i))
        given = step.activity.setdefault(name, [])
        given.append(output.detach().clone())
        call = len(given) - 1
        if i in disturbance.activity and "norm" not in name:
            usual = self.plain.activity[name][call]
            draw = torch.Generator().manual_seed(1000 * i + call)
            noise = torch.randn(usual.shape, generator=draw)
            return cast(Tensor, _Replace.apply(output, (usual + 2 * noise).to(output.dtype)))
        if i in disturbance.held:
            return cast(Tensor, _Replace.apply(output, self.plain.activity[name][call]))
        return output


class _Replace(torch.autograd.Function):
    """Another value with the same graph behind it: gradients pass as if nothing had been replaced."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, replacement: Tensor) -> Tensor:
        return replacement.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return tangents[0]


def modules(network: Network) -> Iterator[tuple[int, str, nn.Module]]:
    """Yield the modules whose results are a layer's activity: number of the layer, name, module."""
    for i, block in enumerate(network.blocks):
        yield i, f"{i}", block.synapse
        for norm in (block.norm, block.bntt):
            if norm is not None:
                yield i, f"{i} norm", norm
    yield len(network.blocks), "readout", network.readout


def layer_parameters(network: Network) -> list[list[nn.Parameter]]:
    """Return the parameters of every layer, the readout last."""
    return [*(list(block.parameters()) for block in network.blocks), list(network.readout.parameters())]


def snapshot(network: Network) -> list[Update]:
    """Return copies of the parameters of every layer."""
    return [[p.detach().clone() for p in own] for own in layer_parameters(network)]


def note_changes(network: Network, before: list[Update], step: Step) -> None:
    """Add ("changed", i) for every layer whose parameters are for the first time not those of `before`."""
    for i, (own, old) in enumerate(zip(layer_parameters(network), before, strict=True)):
        if ("changed", i) not in step.events and not same(own, old):
            step.events.append(("changed", i))


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Return whether two lists of tensors are the same to the bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@torch.no_grad()
def tamper(rule: Rule, disturbance: Disturbance) -> None:
    """Draw weights and heads anew, and turn losses round, where the disturbance says so."""
    synapses = [*(block.synapse.weight for block in rule.trained.blocks), rule.trained.readout.weight]
    torch.manual_seed(99)
    for i in sorted(disturbance.weights):
        synapses[i].copy_(torch.randn_like(synapses[i]) * synapses[i].std())
    for i in sorted(disturbance.losses):
        for parameter in heads_of(rule, i):
            parameter.normal_()
    for i, loss in enumerate(own for own in rule.modules() if isinstance(own, HybridLoss)):
        if i in disturbance.losses:
            loss.weights = {name: -3 * weight for name, weight in loss.weights.items()}


def heads_of(rule: Rule, i: int) -> list[nn.Parameter]:
    """Return the parameters a rule keeps for block i beside the network: entry i of its lists of one entry a block."""
    inside, count = {*rule.network.modules(), *rule.trained.modules()}, len(rule.trained.blocks)
    found: list[nn.Parameter] = []
    for module in rule.modules():
        if module in inside or not isinstance(module, (nn.ModuleList, nn.ParameterList)) or len(module) != count:
            continue
        own = module[i] if i < count else None
        found += [own] if isinstance(own, nn.Parameter) else [] if own is None else list(own.parameters())
    return found
