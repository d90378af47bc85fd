"""The interface of every disturbance of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

Phase = Literal["test", "train"]
Classifier = Callable[[Tensor], Tensor]  # images [B, C, H, W] in [0, 1] -> logits [B, classes], differentiable


@dataclass(frozen=True, kw_only=True)
class Noise(ABC):
    """Disturbs images in [0, 1]. clip: bring the result back into [0, 1]. when: which images, test, train or both."""

    name: ClassVar[str]
    clip: bool = True
    when: Literal["test", "train", "both"] = "test"

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return images [B, C, H, W] disturbed by the numbers `generator`, on their device, draws next."""
        disturbed = self.disturb(images, generator)
        return disturbed.clamp(0, 1) if self.clip else disturbed

    def against(self, network: Classifier | None, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return images disturbed for `network`, which is to say `labels` [B] of them; only attacks look at these."""
        return self(images, generator)

    @abstractmethod
    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the disturbed images before clipping, without changing `images`."""

    def acts_in(self, phase: Phase) -> bool:
        """Whether images of this phase are disturbed."""
        return self.when in (phase, "both")


def normal_like(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers in the shape, dtype and place of `images`."""
    return torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
