"""Neuromorphic Intermediate Representation (Pedersen et al. 2024): the network as a graph that other frameworks and
neuromorphic chips read.

NIR's LIF neuron, τ dv/dt = (v_leak - v) + R I with reset to v_reset, is in Euler steps of dt

    v[t] = (1 - dt/τ) v[t-1] + (dt/τ) R I[t],

ours for τ = dt/(1 - λ) and R = 1, when all currents are divided by 1 - λ: weights and biases here are, with the
normalisation of the trained network folded in. The graph starts at what the first layer receives, so the encoding and,
under direct encoding, the normalisation of the pixels stay with whoever runs it; `metadata` says what they are.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnhll.config import NotInstalledError
from snnhll.errors import UserError
from snnhll.networks.block import Block
from snnhll.networks.network import Network
from snnhll.ops import LIFSettings

DT = 1e-4  # s; snnTorch reads every graph at this step


def write_nir(network: Network, path: Path) -> Path:
    """Write a trained network to `path` and return it. Raises UserError for what NIR has no node for."""
    try:
        import nir
    except ImportError as error:
        raise NotInstalledError("--to nir: not installed; pip install 'snnhll[nir]'.") from error
    nir.write(path, graph(network))
    return path


def graph(network: Network) -> Any:
    """Return the NIR graph of a network in evaluation mode: synapse and neurons of every layer, then the readout."""
    import nir

    nodes: dict[str, Any] = {}
    flat = network.blocks[0].layer.kind == "linear"
    shape = (network.blocks[0].synapse.weight.shape[1],) if flat else network.blocks[0].layer.in_shape
    nodes["input"] = nir.Input(_shape(shape, "input"))
    for i, block in enumerate(network.blocks, 1):
        settings = _settings(block, i)
        if block.layer.kind == "linear" and len(shape) == 3:
            nodes[f"flatten{i}"] = nir.Flatten(_shape(shape, "input"), start_dim=0, end_dim=-1)
        nodes[f"synapse{i}"] = _synapse(block, 1 - settings.decay)
        shape = block.layer.out_shape
        nodes[f"neuron{i}"] = _neuron(settings, shape)
    if len(shape) == 3:
        nodes["flatten"] = nir.Flatten(_shape(shape, "input"), start_dim=0, end_dim=-1)
    nodes["readout"] = nir.Affine(_array(network.readout.weight), _array(network.readout.bias))
    nodes["output"] = nir.Output(_shape((network.classes,), "output"))
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata=_metadata(network))


def _settings(block: Block, i: int) -> LIFSettings:
    """Return the constants of a layer's neurons. Raises UserError where NIR cannot express the layer."""
    settings = block.neuron.compiled
    if settings is None or settings.decay == 1 or settings.reset != "hard":
        raise UserError(
            f"layer {i}: NIR's neuron is LIF with a reset to a value; train with neuron=lif neuron.reset=hard."
        )
    if block.bntt is not None:
        raise UserError(
            f"layer {i}: NIR has no gains that change with time, as under architecture.norm=bntt; use batch."
        )
    if block.layer.shortcut != "none":
        raise UserError(f"layer {i}: residual blocks cannot be written as NIR yet; train a network without them.")
    if block.layer.pool > 1:
        raise UserError(
            f"layer {i}: NIR has no maximum pooling; train with strides instead, as in architecture.spec=16C3s2-FCn."
        )
    return settings


@torch.no_grad()
def _synapse(block: Block, share: float) -> Any:
    """Return the weights that give the layer's current over `share`, normalisation included."""
    import nir

    weight, bias = block.synapse.effective_weight(), block.synapse.bias
    shift = torch.zeros(block.layer.units) if bias is None else bias
    if block.norm is not None:
        scale, shift = block.norm.affine(weight)[:2]
        weight = weight * scale.view(-1, *(1,) * (weight.dim() - 1))
    weight, shift = weight / share, shift / share
    if block.layer.kind == "linear":
        return nir.Affine(_array(weight), _array(shift))
    pair = (block.layer.stride,) * 2, (block.synapse.padding,) * 2
    return nir.Conv2d(block.layer.in_shape[1:], _array(weight), *pair, (1, 1), 1, _array(shift))


def _neuron(settings: LIFSettings, shape: tuple[int, ...]) -> Any:
    import nir

    def each(value: float) -> Any:
        return _array(torch.full(shape, value))

    tau = DT / (1 - settings.decay)
    return nir.LIF(each(tau), each(1.0), each(0.0), each(settings.v_th), each(settings.v_reset))


def _metadata(network: Network) -> dict[str, Any]:
    """What a graph leaves to whoever runs it."""
    name = type(network.encoding).__module__.rpartition(".")[2]  # as encoding= has it
    coded = {"encoding": name, "steps": network.steps, "dt": DT}
    pixels = {"pixel_mean": _array(network.mean.flatten()), "pixel_std": _array(network.std.flatten())}
    return coded | (pixels if network.encoding.normalised else {})


def _array(values: Tensor) -> Any:
    return values.detach().cpu().contiguous().float().numpy()


def _shape(shape: tuple[int, ...], port: str) -> dict[str, Any]:
    import numpy as np

    return {port: np.array(shape)}
