"""Specification strings, as in table 3-1, to layers.

    784-1024-10                              fully connected: input size, hidden sizes, classes
    128C3-256C3-P2-FC1024-FC10               128 channels 3x3 (stride 1, same padding), 2x2 max pooling, FC layers
    64C3s2-FC10                              s2: stride 2
    64C3-64SEW3-128MS3s2-FC10                residual blocks of two 3x3 convolutions (snnhll/networks/residual.py)

The last layer is the linear readout. `n` in its place stands for the number of classes: `784-1024-n`, `12C5-P2-FCn`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from snnhll.errors import UserError

Shape = tuple[int, ...]
Shortcut = Literal["none", "spikes", "membrane"]

_SIZE = "([0-9]{1,9})"
_MOST_UNITS = 10**9 - 1  # nine digits, with the width multiplier as without
_CONV = re.compile(rf"{_SIZE}C{_SIZE}(?:s{_SIZE})?\Z")
_RESIDUAL = re.compile(rf"{_SIZE}(SEW|MS){_SIZE}(?:s{_SIZE})?\Z")
_SHORTCUTS: dict[str, Shortcut] = {"SEW": "spikes", "MS": "membrane"}
_POOL = re.compile(rf"P{_SIZE}\Z")
_FULL = re.compile(rf"(?:FC)?{_SIZE}\Z")


@dataclass(frozen=True)
class Layer:
    """One spiking layer: a synapse, its neurons and the pooling that follows. Shapes are without the batch.

    shortcut: where the input of a residual block of two such layers joins its output; "none" for a plain layer.
    """

    kind: Literal["conv", "linear"]
    in_shape: Shape
    units: int
    kernel: int = 1
    stride: int = 1
    pool: int = 1
    shortcut: Shortcut = "none"

    @property
    def out_shape(self) -> Shape:
        """Shape of the spikes, before pooling: (C, H, W) or (F,)."""
        if self.kind == "linear":
            return (self.units,)
        return (self.units, *((size - 1) // self.stride + 1 for size in self.in_shape[1:]))

    @property
    def pooled_shape(self) -> Shape:
        """Shape of what the next layer receives."""
        if self.kind == "linear":
            return self.out_shape
        return (self.units, *(size // self.pool for size in self.out_shape[1:]))


def parse(spec: str, image: Shape, classes: int, width: float = 1.0, coded: Shape | None = None) -> tuple[Layer, ...]:
    """Return the hidden layers of `spec` for images of shape (C, H, W).

    width multiplies the channels of every convolution or, in a net without one, every hidden layer. coded: shape that
    the first layer receives, where a code has more channels than the image.
    Raises UserError, naming layer and size, when the string does not parse or does not fit image or classes.
    """
    tokens = _tokens(spec, image)
    if len(tokens) < 2:
        raise UserError(f"architecture.spec: {spec!r} has no hidden layer; expected for example 784-1024-10.")
    _check_readout(spec, tokens.pop(), classes)
    wide_linear = not any(_CONV.match(t) or _RESIDUAL.match(t) for t in tokens)
    layers: list[Layer] = []
    for position, token in enumerate(tokens, 1):
        where = f"architecture.spec: layer {position} ({token}) of {spec!r}"
        shape = layers[-1].pooled_shape if layers else coded or image
        if match := _POOL.match(token):
            if not layers or layers[-1].pool > 1:
                raise UserError(f"{where}: pooling must follow a convolution.")
            layers[-1] = _pooled(layers[-1], int(match[1]), where)
        elif match := _CONV.match(token):
            layers.append(_conv(match[1], match[2], match[3], shape, width, where))
        elif match := _RESIDUAL.match(token):
            if not layers:
                raise UserError(f"{where}: a residual block adds spikes; put a convolution before it, as in 16C3.")
            plain = _conv(match[1], match[3], match[4], shape, width, where)
            layers.append(replace(plain, shortcut=_SHORTCUTS[match[2]]))
        elif match := _FULL.match(token):
            units = round(int(match[1]) * (width if wide_linear else 1))
            layers.append(Layer("linear", (prod(shape),), _positive(units, where)))
        else:
            raise UserError(
                f"{where}: cannot read this layer; expected 128C3, P2, FC1024 or a number (residual: 128SEW3)."
            )
    return tuple(layers)


def _tokens(spec: str, image: Shape) -> list[str]:
    """Split the string; a fully connected net names its input size first, which must be that of the image."""
    tokens = [t.strip() for t in spec.split("-")]
    if not re.fullmatch(_SIZE, tokens[0]):
        return tokens
    if int(tokens[0]) != prod(image):
        raise UserError(
            f"architecture.spec: {spec!r} expects {tokens[0]} inputs, but an image here has "
            f"{'x'.join(map(str, image))} = {prod(image)}; start the string with {prod(image)}."
        )
    return tokens[1:]


def _check_readout(spec: str, token: str, classes: int) -> None:
    match = re.fullmatch(f"(?:FC)?({_SIZE}|n)", token)
    if not match:
        raise UserError(f"architecture.spec: {spec!r} must end in the readout, FC{classes} or FCn, not {token!r}.")
    if match[1] not in ("n", str(classes)):
        raise UserError(
            f"architecture.spec: the readout of {spec!r} has {match[1]} classes, but the labels have {classes}; "
            f"end the string with {classes} or n."
        )


def _positive(units: int, where: str) -> int:
    if not 1 <= units <= _MOST_UNITS:
        raise UserError(f"{where}: has {units:.6g} units after the width multiplier; expected 1 to {_MOST_UNITS}.")
    return units


def _conv(channels: str, side: str, step: str | None, shape: Shape, width: float, where: str) -> Layer:
    units, kernel, stride = round(int(channels) * width), int(side), int(step or 1)
    if len(shape) != 3:
        raise UserError(f"{where}: a convolution cannot follow a fully connected layer.")
    if kernel % 2 == 0 or stride < 1:
        raise UserError(f"{where}: kernel size must be odd and stride at least 1, got {kernel} and {stride}.")
    return Layer("conv", shape, _positive(units, where), kernel, stride)


def _pooled(layer: Layer, pool: int, where: str) -> Layer:
    if layer.kind != "conv":
        raise UserError(f"{where}: pooling must follow a convolution.")
    height, width = layer.out_shape[1:]
    if pool < 1 or pool > min(height, width):
        raise UserError(
            f"{where}: cannot pool a map of {height}x{width} by {pool}; the image is too small for this net."
        )
    return replace(layer, pool=pool)
