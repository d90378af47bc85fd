"""The networks that are compared: a specification string and the shape of the images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from snnhll.networks.spec import Layer, Shape, parse

CLASSES = 10


@dataclass(frozen=True)
class Work:
    """One network. norm: "batch" normalises after every convolution and hidden matrix, in all frameworks alike.

    data: whose recommended settings the local losses take (size of their heads). width multiplies channels.
    """

    name: str
    spec: str
    shape: Shape
    norm: Literal["none", "batch"]
    data: str
    width: float = 1.0

    def layers(self) -> tuple[Layer, ...]:
        """Return the hidden layers; a linear readout to CLASSES follows them."""
        return parse(self.spec, self.shape, CLASSES, self.width)

    def wider(self, times: int) -> Work:
        """Return the work with `times` the channels (or hidden units, in a net without convolutions)."""
        return replace(self, name=f"{self.name} width x{times}", width=self.width * times)

    def deeper(self, times: int) -> Work:
        """Return the work with every hidden layer repeated `times`."""
        tokens = self.spec.split("-")
        first = 1 if tokens[0].isdigit() else 0  # a fully connected net names its input size there
        hidden = [t for token in tokens[first:-1] for t in [token] * (1 if token.startswith("P") else times)]
        spec = "-".join([*tokens[:first], *hidden, tokens[-1]])
        return replace(self, name=f"{self.name} depth x{times}", spec=spec)

    def sketch(self) -> Work:
        """Return a narrow version with the same kinds of layers, to load and compile code with before measuring."""
        return replace(self, width=self.width / 16)


_GREY, _COLOUR = (1, 28, 28), (3, 32, 32)
_VGG8 = "128C3-256C3-P2-256C3-512C3-P2-512C3-P2-512C3-P2-FC1024-FC10"

WORKS = {
    work.name: work
    for work in (
        Work("mlp", "784-1024-10", _GREY, "none", "mnist"),
        Work("conv", "32C3-64C3-P2-64C3-128C3-P2-FC256-FC10", _GREY, "batch", "mnist"),
        Work("vgg8", _VGG8, _COLOUR, "batch", "cifar10"),
    )
}
