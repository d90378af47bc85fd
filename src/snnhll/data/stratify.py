"""Holding out a part of a set in which every class keeps its share."""

from __future__ import annotations

import torch
from torch import Tensor

from snnhll.data.randomness import generator


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divide the samples of `labels` [N] into (kept, held out), both ascending int64 indices, disjoint and complete.

    Of each class round(fraction * count) samples are held out, drawn by `seed`; of a class with two samples or more at
    least one lies on either side. A class of one sample is kept. fraction 0 holds out nothing.
    """
    held = torch.zeros(len(labels), dtype=torch.bool)
    draw = generator("cpu", seed, "split")
    for label in labels.unique().tolist() if fraction > 0 else []:
        members = (labels == label).nonzero().flatten()
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held[members[torch.randperm(len(members), generator=draw)[:count]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()
