"""Population encoding (section 2.1.2; Bohte et al. 2002): several neurons a pixel, each with a value it likes best.

    r_i = exp(-(p - i/(n-1))² / 2σ²),   i = 0..n-1,   σ = width / (n-1)

Neuron i of a pixel fires at rate r_i, evenly spaced. The n neurons are channels: an image of C channels becomes one of
C n, those of the first channel first.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from snnhll.build import Positive, Range
from snnhll.encodings.encoding import Encoding
from snnhll.encodings.rate import evenly_spaced
from snnhll.networks.spec import Shape

CANDIDATES = 201  # values of a pixel among which the read-out chooses


class Population(Encoding):
    """neurons: n. width: of a tuning curve, in distances between neighbours. Read back by the pixel whose rates are
    nearest to those counted."""

    def __init__(self, neurons: Annotated[int, Range(2)] = 5, width: Positive = 0.7) -> None:
        super().__init__()
        self.neurons, self.width = neurons, width

    def coded_shape(self, shape: Shape) -> Shape:
        return (shape[0] * self.neurons, *shape[1:])

    def code(self, images: Tensor, steps: int) -> Tensor:
        return evenly_spaced(self.rates(images).movedim(0, 2).flatten(1, 2), steps)

    def rates(self, pixels: Tensor) -> Tensor:
        """Return the rates [n, ...] of the neurons of pixels [...]."""
        centres = torch.linspace(0, 1, self.neurons, device=pixels.device, dtype=pixels.dtype)
        distance = (pixels - centres.view(-1, *(1,) * pixels.dim())) * (self.neurons - 1) / self.width
        return (-distance.square() / 2).exp()

    def decode(self, coded: Tensor) -> Tensor:
        counted = coded.mean(0).unflatten(1, (-1, self.neurons)).movedim(2, 0)
        values = torch.linspace(0, 1, CANDIDATES, device=coded.device, dtype=coded.dtype)
        wanted = evenly_spaced(self.rates(values), len(coded)).mean(0)
        misfit = torch.cdist(counted.flatten(1).T, wanted.T).view(*counted.shape[1:], CANDIDATES)
        nearest = misfit <= misfit.amin(-1, keepdim=True) + 1e-6
        return (nearest * values).sum(-1) / nearest.sum(-1)
