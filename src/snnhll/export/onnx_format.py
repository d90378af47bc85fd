"""ONNX: the whole network for inference, images [B, C, H, W] with pixels in [0, 1] to logits [B, classes].

The time steps are unrolled, and the neurons run by their plain equations, which a graph can hold.
"""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from snnhll.config import NotInstalledError
from snnhll.errors import UserError
from snnhll.networks.network import Network
from snnhll.networks.spec import Shape

NEEDED = ("onnx", "onnxscript")


class Unrolled(nn.Module):
    """A network with its time steps written out; the same logits as `Network.forward` in evaluation mode and in
    the precision of the weights, whatever that of training."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.network.precision = network.readout.weight.dtype  # ONNX Runtime convolves no bfloat16

    def forward(self, images: Tensor) -> Tensor:
        net = self.network
        x = net.encode(images)
        for block in net.blocks:
            spikes = block.trace(x, net.steps)[1]
            x = block.transmit(spikes, None).to(net.precision)
        return net.classify(x.mean(0))


def write_onnx(network: Network, path: Path, shape: Shape) -> Path:
    """Write a trained network for images of `shape` to `path` and return it.

    Raises NotInstalledError without the packages of the extra, and UserError for codes that check or draw their input.
    """
    if any(importlib.util.find_spec(package) is None for package in NEEDED):
        raise NotInstalledError("--to onnx: not installed; pip install 'snnhll[onnx]'.")
    if not network.encoding.normalised:
        raise UserError("encoding: --to onnx writes networks with encoding=direct; train one.")
    unrolled = Unrolled(network).eval()
    example = torch.rand(2, *shape)
    batch = {"images": {0: torch.export.Dim("batch", min=1)}}
    torch.onnx.export(
        unrolled,
        (example,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=batch,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return path
