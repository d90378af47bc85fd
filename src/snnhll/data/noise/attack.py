"""White-box attacks: noise that knows the network and the labels, and moves every image to where the loss rises.

The gradient is that of backpropagation through time, by the network's own surrogate derivative, whatever rule trained
it. The loss is the cross-entropy of the readout's mean over time. Attacks act on test images only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.build import NonNegative
from snnhll.data.noise.noise import Classifier, Noise
from snnhll.errors import UserError

Uphill = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Attack(Noise):
    """Changes every pixel and channel by at most epsilon, in units of the full range."""

    epsilon: NonNegative = 0.1
    when: Literal["test"] = "test"

    def against(self, network: Classifier | None, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        if network is None:
            return self(images, generator)
        try:
            return self.attack(images, lambda x: loss_gradient(network, x, labels).sign(), generator)
        except NoGradientError:
            raise UserError(
                f"noise={self.name}: no gradient reaches the images through this network; use encoding=direct."
            ) from None

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        raise UserError(
            f"noise={self.name}: an attack needs a network that classifies in one forward pass to act against; use "
            f"another noise."
        )

    @abstractmethod
    def attack(self, images: Tensor, uphill: Uphill, generator: torch.Generator) -> Tensor:
        """Return the attacked images [B, C, H, W]; uphill: the sign of the loss's gradient at images of that shape."""

    def within_reach(self, x: Tensor, images: Tensor) -> Tensor:
        """Return the point nearest to x that is at most epsilon from `images` and, where `clip` says so, in [0, 1]."""
        near = x.clamp(images - self.epsilon, images + self.epsilon)
        return near.clamp(0, 1) if self.clip else near


class NoGradientError(Exception):
    """The loss of a network does not depend on its images in a differentiable way."""


def loss_gradient(network: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of each image's cross-entropy with respect to that image, [B, C, H, W]."""
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        loss = F.cross_entropy(network(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x, allow_unused=True)
    if gradient is None:
        raise NoGradientError
    return gradient
