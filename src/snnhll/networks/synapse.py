"""The weights of a layer: a convolution or a matrix, optionally weight-standardised."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.networks.spec import Layer


class Synapse(nn.Module):
    """z = W x (+ bias). Sequences [S, B, ...] are computed in one call.

    standardise: weights are shifted and scaled to zero mean and variance 1/fan_in per output unit before use, with a
    learnable gain (Qiao et al. 2019).
    """

    def __init__(self, layer: Layer, bias: bool, standardise: bool = False) -> None:
        super().__init__()
        self.layer = layer
        fan = (layer.in_shape[0], layer.kernel, layer.kernel) if layer.kind == "conv" else layer.in_shape
        weight = nn.init.kaiming_normal_(torch.empty(layer.units, *fan))
        if layer.kind == "conv":
            weight = weight.contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(layer.units)) if bias else None
        self.gain = nn.Parameter(torch.ones(layer.units)) if standardise else None

    @property
    def padding(self) -> int:
        return self.layer.kernel // 2

    def effective_weight(self) -> Tensor:
        """Return the weight that multiplies the input, in float32."""
        if self.gain is None:
            return self.weight
        rows = self.weight.flatten(1)
        centred = rows - rows.mean(1, keepdim=True)
        unit = centred / (centred.square().sum(1, keepdim=True) + 1e-8).sqrt()
        return (unit * self.gain[:, None]).view_as(self.weight)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return z [S, B, ...] for x [S, B, ...], computed in the dtype of `x`."""
        weight = self.effective_weight() if weight is None else weight
        weight, bias = weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype)
        if self.layer.kind == "linear":
            return F.linear(x.flatten(2), weight, bias)
        z = F.conv2d(x.flatten(0, 1), weight, bias, self.layer.stride, self.padding)
        # with one input channel the layouts coincide and torch may answer in the other one
        return z.contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])

    def weight_gradient(self, x: Tensor, grad_z: Tensor) -> Tensor:
        """Return dL/dW for input x [B, ...] and dL/dz [B, ...]: one product, no gradient to the input."""
        if self.layer.kind == "linear":
            return grad_z.t() @ x.flatten(1)
        stride, padding = [self.layer.stride] * 2, [self.padding] * 2
        return torch.ops.aten.convolution_backward(
            grad_z, x, self.weight.to(x.dtype), None, stride, padding, [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]
