"""An image under every code: what can be read back, and the input of the network at each time step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from snnhll.encodings.encoding import Encoding


def draw_encodings(path: Path, image: Tensor, codes: Sequence[tuple[str, Encoding]], steps: int) -> Path:
    """Draw a row a code, with its title, for one image [C, H, W] in [0, 1]; returns the path."""
    from snnhll.reports import style

    sequences = [encoding.eval()(image.unsqueeze(0), steps) for _, encoding in codes]
    strips = [_strip(coded[:, 0], steps) for coded in sequences]
    heights = [9 * len(strip) / strip.shape[1] + 0.35 for strip in strips]  # inches, with the title
    picture, panels = style.figure(2, len(codes), 5.2, sum(heights) / len(codes), heights, widths=[1, 8])
    for i, ((title, encoding), coded, strip) in enumerate(zip(codes, sequences, strips, strict=True)):
        left, right = panels[2 * i : 2 * i + 2]
        left.imshow(encoding.decode(coded)[0].mean(0).numpy(), cmap="gray", vmin=0, vmax=1)
        left.set_title("read back" if i == 0 else "", fontsize=9)
        right.imshow(strip.numpy(), cmap="gray", vmin=0, vmax=1)
        spikes = "" if encoding.normalised else f", {float(coded.sum()) / image[0].numel():.2g} spikes a pixel"
        right.set_title(f"{title}: {steps} time steps{spikes}", fontsize=9)
        for panel in (left, right):
            panel.set_xticks([])
            panel.set_yticks([])
            panel.grid(False)
    return style.save(picture, path)


def _strip(coded: Tensor, steps: int) -> Tensor:
    """Return the steps of [S, C, H, W] side by side, channels below each other, with grey lines between."""
    framed = F.pad(coded.expand(steps, *coded.shape[1:]), (0, 1, 0, 1), value=0.5)
    return torch.cat([torch.cat(list(step), 0) for step in framed], 1)
