"""HSIC bottleneck of a layer (4-25, 4-30): forget the input, keep what tells the classes apart.

    xz, as printed:              L = HSIC(X, Z) - β HSIC(Z, Y)
    zz, Pogodin & Latham 2020:   L = HSIC(Z, Z) - β HSIC(Z, Y)

X are the normalised pixels, Y the one-hot labels, Z the features of the layer's firing rates. With updates that see
spikes step by step (trainer.update=accumulate or online), Z are the spikes at t and L is summed over t, as in (4-30).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import NonNegative, PositiveInt
from snnhll.kernels.cosine import Cosine
from snnhll.kernels.degenerate import degenerate
from snnhll.kernels.features import Reduction, reduction
from snnhll.kernels.hsic import Estimator, centre, hsic
from snnhll.kernels.kernel import Kernel
from snnhll.losses.loss import Activity, Batch, Loss, Similarity

CAUSES = {
    "identity": "the identity (every sample is unlike every other)",
    "constant": "constant (all samples are alike)",
}


@dataclass(frozen=True)
class Global:
    """What every layer is told of a batch: centred kernels of input (xz only) and labels, [B, B] each."""

    input: Tensor | None
    labels: Tensor


class HSICLoss(Loss):
    """HSIC bottleneck. Without a readout of its own: it shapes features, it does not classify.

    kernel: of X and Z, and of Y where label_kernel is "same"; "cosine" takes the centred cosine of the one-hot labels,
    1 within a class and -1/(classes-1) between two. objective, beta: see above. estimator: "approximate" (4-23),
    "biased" (4-21) or "unbiased". features, size: how rates are reduced before the kernel, and to how many values.
    """

    signed: ClassVar[bool] = True

    def __init__(
        self,
        kernel: Kernel,
        objective: Literal["zz", "xz"] = "zz",
        beta: NonNegative = 2.0,
        estimator: Estimator = "approximate",
        label_kernel: Literal["cosine", "same"] = "cosine",
        features: Reduction = "group",
        size: PositiveInt = 32,
    ) -> None:
        super().__init__()
        self.kernel, self.objective, self.beta, self.estimator = kernel, objective, beta, estimator
        self.label_kernel = kernel if label_kernel == "same" else Cosine(centred=True)
        self.features = reduction(features, size)
        self._unchecked = {"input", "labels", "features"}

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Global:
        labels = self._checked("labels", self.gathered(one_hot(batch)), self.label_kernel)
        if self.objective == "zz":
            return Global(None, centre(labels, self.estimator))
        pixels = self._checked("input", self.gathered(batch.images.flatten(1)), self.kernel)
        return Global(centre(pixels, self.estimator), centre(labels, self.estimator))

    def forward(self, activity: Activity, target: Any) -> Tensor:
        z = self.features(activity.pooled(None)).unflatten(0, activity.spikes.shape[:2])
        return self.value(self.similarity(self.gathered(z, 1)), target)

    def similarity(self, z: Tensor) -> Tensor:
        """Kernel matrix [..., B, B] of features [..., B, D]."""
        return self._checked("features", z, self.kernel)

    def value(self, K: Tensor, target: Global) -> Tensor:
        """The loss of the kernel matrix K [..., B, B] of Z, summed over leading dimensions."""
        compressed = centre(K, self.estimator) if target.input is None else target.input
        return ((compressed - self.beta * target.labels) * K).sum()

    def slope(self, K: Tensor, target: Global) -> Tensor:
        """Derivative of `value` for symmetric K: k̃(x) - β k̃(y), or 2k̃(z) - β k̃(y)."""
        compressed = 2 * centre(K, self.estimator) if target.input is None else target.input
        return compressed - self.beta * target.labels

    @torch.no_grad()
    def similarity_of(self, rate: Tensor, batch: Batch) -> Similarity:
        """Both axes of the information plane, and the mean of `slope` over pairs of one class and of two: a pair whose
        slope is negative is drawn together."""
        x, y = self.kernel(batch.images.flatten(1)), self.label_kernel(one_hot(batch))
        z = self.kernel(self.features(rate))
        told = Global(None if self.objective == "zz" else centre(x, self.estimator), centre(y, self.estimator))
        slope = self.slope(z, told)
        same = batch.labels[:, None] == batch.labels
        others = ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        numbers = {
            "hsic_xz": hsic(x, z, self.estimator),
            "hsic_zy": hsic(z, y, self.estimator),
            "slope_same_class": _mean(slope, same & others),
            "slope_different_class": _mean(slope, ~same),
        }
        return Similarity(z, y, {name: float(number) for name, number in numbers.items()})

    def _checked(self, of: str, x: Tensor, kernel: Kernel) -> Tensor:
        """Kernel matrix of x [..., B, D]; the first one of each kind is looked at, and a useless one warned about."""
        K = kernel(x)
        if of in self._unchecked:
            self._unchecked.remove(of)
            if problem := degenerate(K.view(-1, *K.shape[-2:])[-1]):
                advice = ""
                if getattr(kernel, "bandwidth", "median") != "median":
                    advice = "; try kernel.bandwidth=median"
                elif of == "features" and problem == "constant":
                    advice = "; see whether the layer fires at all"
                warnings.warn(
                    f"loss hsic: the kernel {kernel} of the {of} is {CAUSES[problem]} on the first batch, to rounding "
                    f"({x.shape[-1]} values a sample), so nothing is learned from it{advice}.",
                    stacklevel=2,
                )
        return K


def one_hot(batch: Batch) -> Tensor:
    """The labels as vectors [B, classes], in the type of the images."""
    return F.one_hot(batch.labels, batch.classes).to(batch.images)


def _mean(values: Tensor, pairs: Tensor) -> Tensor:
    """Mean of the values of the chosen pairs; 0 where there is none."""
    return (values * pairs).sum() / pairs.sum().clamp(min=1)
