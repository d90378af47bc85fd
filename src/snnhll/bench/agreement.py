"""Before speeds are compared: do the frameworks compute the same network?

Weights and normalisation are copied from ours, the peer's neurons are set up to compute (3-1), (3-2), and the same
images are shown. In float64 rounding cannot decide a spike, so every spike of every layer has to be equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from snnhll.bench import ours
from snnhll.bench.peer import Peer, Reset
from snnhll.bench.works import Work
from snnhll.networks.network import Network
from snnhll.networks.synapse import Synapse

BATCH, DECAY = 4, 0.5


@dataclass(frozen=True)
class Agreement:
    """Under one reset: mean firing rate of each layer, and how many of its spikes differ."""

    reset: Reset
    rates: list[float]
    different: list[int]


def compare(work: Work, framework: str, steps: int) -> list[Agreement]:
    """Compare spikes layer by layer under every reset that the framework can share with us."""
    peer_class: type[Peer] = import_module(f"snnhll.bench.{framework}").Network
    images = torch.rand(BATCH, *work.shape, dtype=torch.float64)
    return [_under(work, peer_class, reset, steps, images) for reset in peer_class.resets]


def _under(work: Work, peer_class: type[Peer], reset: Reset, steps: int, images: Tensor) -> Agreement:
    network = _calibrated(work, reset, steps, images)
    peer = peer_class(work, steps, reset, DECAY).double().eval()
    transfer(network, peer)
    mine = [spikes.flatten() for _, spikes in network.traces(images)]
    theirs = peer.spikes(network.normalised(images))
    different = [int((a != b).sum()) for a, b in zip(mine, theirs, strict=True)]
    return Agreement(reset, [float(spikes.mean()) for spikes in mine], different)


def _calibrated(work: Work, reset: Reset, steps: int, images: Tensor) -> Network:
    """Return our network in float64, normalising by the statistics of these images, so that every layer fires."""
    neuron = (f"neuron.reset={reset}", f"neuron.decay={DECAY}")
    network = ours.build(work, "bptt fp32", steps, neuron).network.double()
    network.precision = torch.float64
    for block in network.blocks:
        if block.norm is not None:
            block.norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    return network.eval()


@torch.no_grad()
def transfer(network: Network, peer: Peer) -> None:
    """Copy weights and normalisation of our network into the peer's, layer by layer."""
    synapses = [m for m in peer.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in peer.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    ours_in_order: list[Synapse | nn.Linear] = [*(block.synapse for block in network.blocks), network.readout]
    for theirs, mine in zip(synapses, ours_in_order, strict=True):
        _copy({"weight": mine.weight, "bias": mine.bias}, theirs)
    for norm, own in zip(norms, [block.norm for block in network.blocks if block.norm is not None], strict=True):
        _copy({"weight": own.gamma, "bias": own.beta}, norm)
        _copy({"running_mean": own.running_mean, "running_var": own.running_var}, norm)


def _copy(values: dict[str, Tensor | None], module: nn.Module) -> None:
    """Copy values into the parameters and buffers of those names; a bias is absent on both sides or on neither."""
    for name, value in values.items():
        target = getattr(module, name)
        assert (value is None) == (target is None), name
        if value is not None:
            target.copy_(value)
