"""Delta modulation (section 2.1.2): only changes are sent, brighter and darker on channels of their own.

A still image has no changes, so it is faded in over the first half of the steps, x[t] = p (t+1)/(T//2), and out again.
Every pixel remembers the level it has reported, and reports when the signal has moved by a threshold θ:

    ON:  x[t] - level >= θ, level += θ        OFF:  level - x[t] >= θ, level -= θ

as the pixels of an event camera do (Lichtsteiner et al. 2008), here of the intensity itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.build import Positive
from snnhll.encodings.encoding import Encoding
from snnhll.errors import UserError
from snnhll.networks.spec import Shape

ROUNDING = 1e-5


class Delta(Encoding):
    """threshold: θ, null for the change of the brightest pixel in a step. An image of C channels becomes one of 2C: ON,
    then OFF. Read back by the number of ON events, to within θ.

    Raises UserError where θ is less than that: one event a step could not keep up.
    """

    def __init__(self, threshold: Positive | None = None) -> None:
        super().__init__()
        self.threshold = threshold

    def coded_shape(self, shape: Shape) -> Shape:
        return (2 * shape[0], *shape[1:])

    def code(self, images: Tensor, steps: int) -> Tensor:
        threshold, level, events = self._threshold(steps), torch.zeros_like(images), []
        for share in fade(steps):
            change = images * share - level
            on, off = change >= threshold - ROUNDING, -change >= threshold - ROUNDING
            events.append(torch.cat([on, off], 1).to(images.dtype))
            level = level + threshold * (on.to(images.dtype) - off.to(images.dtype))
        return torch.stack(events)

    def decode(self, coded: Tensor) -> Tensor:
        return coded.sum(0).chunk(2, dim=1)[0] * self._threshold(len(coded))

    def _threshold(self, steps: int) -> float:
        change = fade(steps)[0]
        if self.threshold is not None and self.threshold < change - ROUNDING:
            raise UserError(
                f"encoding.threshold: {self.threshold:g} is less than the brightest pixel changes by in a step, "
                f"{change:g} at trainer.steps={steps}; use at least that, or null."
            )
        return change if self.threshold is None else self.threshold


def fade(steps: int) -> list[float]:
    """Return by which share the image is there at each step: up to 1 at half of them, then down to 0."""
    half = max(steps // 2, 1)
    return [(t + 1) / half if t < half else (steps - 1 - t) / (steps - half) for t in range(steps)]
