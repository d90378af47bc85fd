"""Frames of an event camera: each time step receives the events of one slice of the recording.

s[t] = 1 where a pixel reported at least one change in slice t, brighter and darker on channels of their own

A pixel of value p reported round(255 p) changes, so that noise counts from half a change on, a standard deviation of
about 0.002.
"""

from __future__ import annotations

from torch import Tensor

from snnhll.data.events import MOST, POLARITIES
from snnhll.encodings.encoding import Encoding
from snnhll.errors import UserError
from snnhll.networks.spec import Shape


class Frames(Encoding):
    """For images of 2T channels, as the event sets make them. Raises UserError for others."""

    def coded_shape(self, shape: Shape) -> Shape:
        return (POLARITIES, *shape[1:])

    def code(self, images: Tensor, steps: int) -> Tensor:
        if images.shape[1] != POLARITIES * steps:
            raise UserError(
                f"encoding=frames: images of {images.shape[1]} channels, but trainer.steps={steps} needs "
                f"{POLARITIES * steps}, two polarities a step; use it with event data such as data=n_mnist."
            )
        changes = (images * MOST).round().unflatten(1, (steps, POLARITIES)).movedim(1, 0)
        return (changes > 0).to(images.dtype)

    def decode(self, coded: Tensor) -> Tensor:
        return coded.movedim(0, 1).flatten(1, 2)
