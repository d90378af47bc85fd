"""Similarity matching (3-7..3-9): samples of one class should fire alike.

    L_sim = Σ_t || Sim(E_θ(S^l[t])) - Sim(Y) ||_F²

Sim is the cosine similarity of all pairs in the batch, Y the one-hot labels, E_θ a learnable map used in training only.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.build import PositiveInt
from snnhll.losses.features import pooled_length, pooled_side
from snnhll.losses.loss import Activity, Batch, Loss
from snnhll.networks.spec import Layer

PRINTED_BATCH = 64
EPS = 1e-8


def similarity(x: Tensor, centre: bool) -> Tensor:
    """Return the cosine similarity of all pairs of rows, [S, B, B], for x [S, B, D].

    A row without norm, as of a sample that no neuron has answered yet, gives 0 and gets no gradient: at zero that of a
    unit vector is of the order 1/√EPS, and Adam's running moments keep it for long.
    """
    if centre:  # a row centred and scaled to unit length is its layer normalisation over √D, in one operation
        length = x.shape[-1]
        unit = F.layer_norm(x, (length,), eps=EPS / length) * length**-0.5
    else:
        unit = x / (x.square().sum(-1, keepdim=True) + EPS).sqrt()
    unit = unit * (unit.detach() != 0).any(-1, keepdim=True)
    return torch.bmm(unit, unit.mT)


def similarity_of_labels(labels: Tensor, classes: int, centre: bool, like: Tensor) -> Tensor:
    """Return `similarity` of one-hot labels, [B, B]: one value for pairs of one class, one for all others.

    With the mean m of a label's entries taken off, 1/C or 0, two labels have the product 1 - m or -m, and 1 - m is the
    square of their norms.
    """
    mean = 1 / classes if centre else 0.0
    squared_norm = 1 - mean + EPS
    pairs = like.new_full((len(labels), len(labels)), -mean / squared_norm)
    return pairs.masked_fill_(labels[:, None] == labels, (1 - mean) / squared_norm)


class SimilarityLoss(Loss):
    """Squared distance between the similarity of features and that of labels.

    projection: E_θ, a 3x3 convolution (1x1 where a single pixel is left, a matrix on vectors) without bias; false
    leaves it out. centre: remove every sample's mean over features before the cosine, for features and labels alike.
    spatial: the feature of a map is the deviation over space per channel (where pooling leaves one pixel, that pixel),
    or the map flattened. head_size: maps are average-pooled to at most this many values before E_θ: of 512 channels one
    pixel under 1024, two by two under 2048; null keeps full resolution. embedding: length of E_θ's output on vectors;
    null keeps the layer's own. scale: "pairs" is the mean over pairs times 64², the printed scale whatever the batch
    size; "sum" and "mean" as named.
    """

    pooled_only: ClassVar[bool] = True

    def __init__(
        self,
        layer: Layer,
        projection: bool = True,
        centre: bool = True,
        spatial: Literal["deviation", "flatten"] = "deviation",
        head_size: PositiveInt | None = None,
        embedding: PositiveInt | None = None,
        scale: Literal["pairs", "sum", "mean"] = "pairs",
    ) -> None:
        super().__init__()
        self.centre, self.spatial, self.scale = centre, spatial, scale
        self.side = None if head_size is None else pooled_side(layer.out_shape, head_size)
        if not projection:
            self.projection: nn.Module = nn.Identity()
        elif layer.kind == "conv":
            kernel = 1 if (self.side or max(layer.out_shape[1:])) == 1 else 3  # around one pixel is padding only
            self.projection = nn.Conv2d(layer.units, layer.units, kernel, padding=kernel // 2, bias=False)
        else:
            self.projection = nn.Linear(layer.units, min(embedding or layer.units, layer.units), bias=False)
        if centre and self._count(layer, embedding if projection else None) == 1:
            warnings.warn(
                "loss.terms.sim.centre: a layer with one feature does not differ from its own mean and learns nothing "
                "from similarity; give it more neurons or a larger embedding, or choose centre=false.",
                stacklevel=2,
            )

    def _count(self, layer: Layer, embedding: int | None) -> int:
        """Return the number of features of a sample."""
        if layer.kind != "conv":
            return min(embedding or layer.units, layer.units)
        return layer.units if self.spatial == "deviation" else pooled_length(layer.out_shape, self.side)

    def prepare(self, batch: Batch) -> Tensor:
        labels = self.gathered(batch.labels)
        return similarity_of_labels(labels, batch.classes, self.centre, batch.pixels)

    def features(self, x: Tensor) -> Tensor:
        """Return feature vectors [N, D] of pooled activity [N, ...]."""
        z = self.projection(x)
        has_space = z.dim() == 4 and z.shape[2:].numel() > 1
        if self.spatial == "flatten" or not has_space:
            return z.flatten(1)
        return (z.flatten(2).var(2, unbiased=False) + EPS).sqrt()

    def forward(self, activity: Activity, target: Any) -> Tensor:
        steps, batch = activity.spikes.shape[:2]
        x = self.features(activity.pooled(self.side)).unflatten(0, (steps, batch))
        found = similarity(self.gathered(x, 1), self.centre)
        scale = {"pairs": PRINTED_BATCH**2 / len(target) ** 2, "mean": 1 / len(target) ** 2, "sum": 1.0}[self.scale]
        return F.mse_loss(found, target.expand_as(found), reduction="sum") * scale
