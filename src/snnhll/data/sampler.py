"""The order in which an epoch visits the training images."""

from __future__ import annotations

import torch
from torch import Tensor


def shuffled(labels: Tensor, draw: torch.Generator) -> Tensor:
    """Return every index into `labels` [N] once, in random order."""
    return torch.randperm(len(labels), generator=draw)


def balanced(labels: Tensor, draw: torch.Generator) -> Tensor:
    """Return N indices into `labels` [N] in which the classes take turns, so any batch holds equally many of each, ±1.

    Within a class the images come in random order. Of classes of equal size every image comes once; of a smaller class
    images come again, of a larger one some sit this epoch out.
    """
    mixed = torch.randperm(len(labels), generator=draw)
    by_class = mixed[labels[mixed].argsort(stable=True)]
    _, sizes = labels.unique(return_counts=True)
    starts = sizes.cumsum(0) - sizes
    turns = torch.randperm(len(sizes), generator=draw)
    slot = torch.arange(len(labels))
    of_class, rank = turns[slot % len(sizes)], slot // len(sizes)
    return by_class[starts[of_class] + rank % sizes[of_class]]
