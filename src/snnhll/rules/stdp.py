"""Spike-timing-dependent plasticity (2-16) in layers where one neuron at most fires at a step (Diehl & Cook 2015).

With traces x̄[t] = e^(-1/τ+) x̄[t-1] + x[t] of presynaptic spikes x, ȳ[t] likewise with τ- of postsynaptic spikes y, and
the mean over the batch:

    pair           ΔW = η Σ_t (A+ y[t] x̄[t]ᵀ - A- ȳ[t-1] x[t]ᵀ)
    triplet        ΔW = η Σ_t (A+ (1 + ȳ²[t-1]) y[t] x̄[t]ᵀ - A- ȳ[t-1] x[t]ᵀ)            (Pfister & Gerstner 2006)
    asymmetric     ΔW = η Σ_t y[t] (x̄[t] - offset)ᵀ ⊙ (w_max - W)                        (post-spike rule of D & C)
    inhibitory     ΔW of pair, its sign turned
    reward         ΔW of pair, times +1 for samples that the votes classify rightly, and -1 for others

ȳ² has τ_slow. Spikes of one step count as pre before post. Weights stay in [0, w_max]; every neuron's sum to `total`,
less what w_max cuts off. Homeostasis, the adaptive threshold of the paper, is kept in the bias: b += η η_b (a/n - r),
so that the n neurons of a layer take equal turns, and one of them fires at a share a of the steps. Labels only assign
classes to the neurons of the last layer: each votes for the class that it fired most for, and the class of the highest
mean rate wins. The votes are the readout's weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from snnhll.build import Fraction, NonNegative, Positive, Range
from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.networks.rates import rate_of
from snnhll.networks.synapse import Synapse
from snnhll.neurons.competitive import Competitive
from snnhll.rules.layerwise import put_gradient
from snnhll.rules.pieces import Piece, in_pieces
from snnhll.rules.requirements import fully_connected, no_dropout, plain_weights
from snnhll.rules.rule import MakeOptimizer, Metrics, Rule, correct

Kind = Literal["pair", "triplet", "asymmetric", "inhibitory", "reward"]


class STDPRule(Rule):
    """kind: see above. potentiation, depression: A+, A-. tau_plus, tau_minus, tau_slow: time constants in steps.

    offset: of the asymmetric kind, the presynaptic trace below which a synapse weakens. homeostasis: η_b, in units of
    the learning rate, so that a schedule lets both fall. activity: a. memory: how much of the count of responses, which
    assigns the classes, is kept from batch to batch.
    """

    gradient: ClassVar[bool] = False
    local: ClassVar[bool] = True

    @classmethod
    def unread(cls, options: Mapping[str, Any]) -> set[str]:
        kind = options.get("kind", "asymmetric")
        of_pairs = {"potentiation", "depression", "tau_minus"}
        return ({"offset"} if kind != "asymmetric" else of_pairs) | ({"tau_slow"} if kind != "triplet" else set())

    def __init__(
        self,
        network: Network,
        make_optimizer: MakeOptimizer,
        kind: Kind = "asymmetric",
        potentiation: Positive = 1.0,
        depression: NonNegative = 0.5,
        tau_plus: Positive = 5.0,
        tau_minus: Positive = 5.0,
        tau_slow: Positive = 20.0,
        offset: NonNegative = 1.6,
        w_max: Positive = 1.0,
        total: Positive = 2.0,
        homeostasis: NonNegative = 500.0,
        activity: Annotated[float, Range(0, 1, open_low=True)] = 0.3,
        memory: Fraction = 0.99,
    ) -> None:
        super().__init__(network)
        check(network, w_max, total)
        self.kind, self.potentiation, self.depression = kind, potentiation, depression
        self.decays = tuple(math.exp(-1 / tau) for tau in (tau_plus, tau_minus, tau_slow))
        self.offset, self.w_max, self.total = offset, w_max, total
        self.homeostasis, self.activity, self.memory = homeostasis, activity, memory
        self.responses: Tensor
        self.shown: Tensor
        self.register_buffer("responses", torch.zeros(network.classes, network.readout.in_features))
        self.register_buffer("shown", torch.zeros(network.classes))
        self.optimizers = [make_optimizer([p for block in network.blocks for p in block.synapse.parameters()])]
        with torch.no_grad():
            network.readout.bias.zero_()
            for block in network.blocks:
                block.synapse.weight.uniform_(0, 1)
                self.bound(block.synapse)

    @torch.no_grad()
    def step(self, images: Tensor, labels: Tensor) -> Metrics:
        pieces = in_pieces(self.network, images, through_time=False)
        rates = [rate_of(piece.spikes) for piece in pieces]
        logits = self.network.classify(rates[-1])
        reward = 2.0 * (logits.argmax(1) == labels).to(logits.dtype) - 1 if self.kind == "reward" else None
        for piece, rate in zip(pieces, rates, strict=True):
            put_gradient(piece.block.synapse.weight, -self.change(piece, reward))
            put_gradient(piece.block.synapse.bias, self.homeostasis * (rate.mean(0) - self.activity / rate.shape[1]))
        self.optimizers[0].step()
        for block in self.network.blocks:
            self.bound(block.synapse)
        self.assign(rates[-1], labels)
        fired = {f"layer{i}/rate": rate.sum(1).mean() for i, rate in enumerate(rates, 1)}
        return fired | {"correct": correct(logits, labels)}

    def change(self, piece: Piece, reward: Tensor | None) -> Tensor:
        """Return ΔW/η, [post, pre], of a layer; reward: a factor for every sample, [B]."""
        post = piece.spikes.to(piece.block.synapse.weight.dtype)
        pre = piece.source.flatten(2).to(post.dtype).expand(len(post), -1, -1)
        seen = trace(pre, self.decays[0])
        if self.kind == "asymmetric":
            weight = piece.block.synapse.weight
            return product(post, seen - self.offset) * (self.w_max - weight)
        past = before(trace(post, self.decays[1]))
        strength = post if reward is None else post * reward[:, None]
        past = past if reward is None else past * reward[:, None]
        if self.kind == "triplet":
            strength = strength * (1 + before(trace(post, self.decays[2])))
        change = self.potentiation * product(strength, seen) - self.depression * product(past, pre)
        return -change if self.kind == "inhibitory" else change

    def bound(self, synapse: Synapse) -> None:
        """Keep the weights in [0, w_max], and the sum of each neuron's at `total`, less what w_max cuts off."""
        weight = synapse.weight
        weight.clamp_(min=0)
        weight.mul_(self.total / weight.sum(1, keepdim=True).clamp(min=1e-8))
        weight.clamp_(max=self.w_max)

    def assign(self, rate: Tensor, labels: Tensor) -> None:
        """Add rates [B, n] to what each neuron fired for each class, and write the votes into the readout."""
        self.responses *= self.memory
        self.shown *= self.memory
        self.responses.index_add_(0, labels, rate.to(self.responses.dtype))
        self.shown += torch.bincount(labels, minlength=len(self.shown)).to(self.shown.dtype)
        self.network.readout.weight.copy_(votes(self.responses / self.shown.clamp(min=1e-8)[:, None]))


def votes(responses: Tensor) -> Tensor:
    """Return weights [classes, n] for the mean response [classes, n] of every neuron: each votes for one class.

    A class's score is the mean rate of the neurons assigned to it; neurons that never fired have no vote.
    """
    fired = responses.amax(0) > 0
    chosen = torch.nn.functional.one_hot(responses.argmax(0), len(responses)).t() * fired
    return chosen / chosen.sum(1, keepdim=True).clamp(min=1)


def trace(spikes: Tensor, decay: float) -> Tensor:
    """Return the low-pass filtered spikes, [T, B, n]: a trace of t includes the spike of t."""
    filtered, level = [], torch.zeros_like(spikes[0])
    for s in spikes:
        level = decay * level + s
        filtered.append(level)
    return torch.stack(filtered)


def before(traces: Tensor) -> Tensor:
    """Return the traces [T, ...] of one step earlier, zero at the first."""
    return torch.cat([torch.zeros_like(traces[:1]), traces[:-1]])


def product(post: Tensor, pre: Tensor) -> Tensor:
    """Return Σ_t post[t] pre[t]ᵀ, [post, pre], averaged over the batch of [T, B, n] each: one matrix product."""
    return post.flatten(0, 1).t() @ pre.flatten(0, 1) / post.shape[1]


def check(network: Network, w_max: float, total: float) -> None:
    """Raise UserError for a network whose spikes this rule cannot pair, or whose weights cannot sum to `total`."""
    if network.encoding.normalised:
        raise UserError("encoding: stdp pairs spikes, but direct encoding sends analog values; use encoding=poisson.")
    fully_connected(network, "stdp")
    plain_weights(network, "stdp", "keeps the weights in bounds itself")
    no_dropout(network, "stdp")
    received = min(block.synapse.weight.shape[1] for block in network.blocks)
    if total > w_max * received:
        raise UserError(
            f"rule.total: {total:g} is more than {received} weights of at most {w_max:g} sum to; lower it, or raise "
            f"rule.w_max."
        )
    if not all(isinstance(block.neuron, Competitive) for block in network.blocks):
        raise UserError("neuron: under stdp the neurons of a layer must compete; use neuron=competitive.")
