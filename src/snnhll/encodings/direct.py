"""Direct encoding (section 2.1.2): the analog image is the input current of the first layer at every time step."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from snnhll.encodings.encoding import Encoding


class Direct(Encoding):
    """The normalised image, constant over time; the first layer therefore computes its current once."""

    normalised: ClassVar[bool] = True

    def code(self, images: Tensor, steps: int) -> Tensor:
        return images.unsqueeze(0)

    def decode(self, coded: Tensor) -> Tensor:
        return coded[0]
