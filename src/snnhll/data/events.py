"""Events of a camera that reports changes of brightness, and the frames that networks take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POLARITIES = 2
MOST = 255  # events that a pixel counts in a slice; its value is their number over it


@dataclass(frozen=True)
class Events:
    """One recording: columns x and rows y, times in µs, and polarity 1 (brighter) or 0 (darker); int64 [N] each."""

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    p: np.ndarray

    def __len__(self) -> int:
        return len(self.t)

    def between(self, start: int, end: int) -> Events:
        """Return the events at start <= t < end."""
        inside = (self.t >= start) & (self.t < end)
        return Events(self.x[inside], self.y[inside], self.t[inside], self.p[inside])

    def pooled(self, pool: int) -> Events:
        """Return the events as a camera whose pixels are `pool` times as wide and high would report them."""
        return Events(self.x // pool, self.y // pool, self.t, self.p)

    def frames(self, bins: int, height: int, width: int) -> np.ndarray:
        """Return how many events fell on each pixel in equal slices of the recording, uint8 [2 bins, H, W], at most
        255: the darker ones of the first slice, its brighter ones, those of the second, and so on."""
        first, last = int(self.t.min()), int(self.t.max())
        bin_ = (self.t - first) * bins // (last - first + 1)
        channel = POLARITIES * bin_ + self.p
        place = (channel * height + self.y) * width + self.x
        counts = np.bincount(place, minlength=POLARITIES * bins * height * width)
        return counts.clip(max=MOST).astype(np.uint8).reshape(POLARITIES * bins, height, width)
