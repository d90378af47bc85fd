from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.networks.block import Block

Simulate = Callable[..., Tensor]


def _surrogate_step(x: Tensor) -> Tensor:
    """H(x), differentiated as sign(x) (1 - exp(-|x|)), whose slope is exp(-|x|)."""
    stand_in = x.sign() * (1 - torch.exp(-x.abs()))
    return (x >= 0).to(x.dtype) + (stand_in - stand_in.detach())


def _effective(block: Block) -> Tensor:
    weight, gain = block.synapse.weight, block.synapse.gain
    if gain is None:
        return weight
    centred = weight - weight.flatten(1).mean(1).view(-1, *(1,) * (weight.dim() - 1))
    norms = (centred.flatten(1).square().sum(1) + 1e-8).sqrt()
    return centred * (gain / norms).view(-1, *(1,) * (weight.dim() - 1))


def _currents(block: Block, x: Tensor) -> Tensor:
    weight, layer = _effective(block), block.layer
    if layer.kind == "linear":
        z = torch.stack([step.flatten(1) @ weight.t() for step in x])
    else:
        z = torch.stack([F.conv2d(step, weight, None, layer.stride, layer.kernel // 2) for step in x])
    per_channel = (-1, *(1,) * (z.dim() - 3))
    if block.synapse.bias is not None:
        z = z + block.synapse.bias.view(per_channel)
    if block.norm is None:
        return z
    others = [d for d in range(z.dim()) if d != 2]
    mean, var = z.mean(others, keepdim=True), z.var(others, unbiased=False, keepdim=True)
    unit = (z - mean) / (var + 1e-5).sqrt()
    return unit * block.norm.gamma.view(per_channel) + block.norm.beta.view(per_channel)


def _simulate(block: Block, x: Tensor, through_time: bool, detach_reset: bool = True) -> Tensor:
    settings: Any = block.neuron.compiled
    v, spikes = torch.zeros((), dtype=x.dtype), []
    for current in _currents(block, x):
        u = settings.decay * (v if through_time else v.detach()) + current
        s = _surrogate_step(u - settings.v_th)
        v = u - settings.v_th * (s.detach() if detach_reset else s)
        spikes.append(s)
    return torch.stack(spikes)


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Spikes [T, B, ...] of a block in training for inputs x [T, B, ...], with autograd's own graph.

    through_time: whether the membrane carries gradients from step to step; detach_reset: whether its reset does not.
    """
    return _simulate
