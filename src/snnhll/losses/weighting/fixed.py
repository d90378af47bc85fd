"""Fixed weights: those of `loss.weights`, as the thesis prints them (table 3-5)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from snnhll.losses.weighting.weighting import Weighting


class Fixed(Weighting):
    """Weights that stay as they are configured."""

    def weights(self, configured: Mapping[str, float]) -> Mapping[str, float | Tensor]:
        return configured

    def hear(self, losses: Mapping[str, Tensor], last: bool, shared: Tensor) -> None:
        pass
