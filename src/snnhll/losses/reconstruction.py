"""Reconstruction loss (3-10, 3-11): a decoder on every layer rebuilds the layer's input from its output, on rates.

L_recon = || r^{l-1} - G_l(r^l) ||², as the mean over all elements; the first layer rebuilds the encoded image
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.losses.loss import Activity, Loss
from snnhll.networks.spec import Layer


class ReconstructionLoss(Loss):
    """Mean squared error of the decoder G_l: a transposed convolution with the layer's kernel, or a matrix."""

    once: ClassVar[bool] = True

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        if layer.kind == "linear":
            self.decoder: nn.Module = nn.Linear(layer.units, layer.in_shape[0])
        else:
            odd = [(size - 1) % layer.stride for size in layer.in_shape[1:]]
            self.decoder = nn.ConvTranspose2d(
                layer.units,
                layer.in_shape[0],
                layer.kernel,
                layer.stride,
                layer.kernel // 2,
                output_padding=(odd[0], odd[1]),
            )

    def forward(self, activity: Activity, target: Any) -> Tensor:
        rebuilt = self.decoder(activity.rate)
        return F.mse_loss(rebuilt, activity.source.to(rebuilt.dtype).reshape(rebuilt.shape))
