"""N-MNIST: MNIST seen by a moving event camera, 60,000 + 10,000 recordings of 34x34 pixels (Orchard et al. 2015).

A file holds events of five bytes: x, y, and 24 bits of which the first is the polarity and the others the time in µs.
An event at y = 240 is none: it says that the clock of the camera has wrapped around, after 2^13 µs.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnhll.build import PositiveInt
from snnhll.data.events import Events
from snnhll.data.image_cache import cached
from snnhll.data.imageset import ImageSet
from snnhll.errors import UserError

SIDE = 34
BYTES, WRAP_ROW, WRAP_TIME = 5, 240, 2**13
CLASSES = tuple(str(digit) for digit in range(10))
Files = list[tuple[str, int, int]]  # path within the set, bytes, label


def load(root: Path, bins: PositiveInt = 10) -> ImageSet:
    """Return the recordings of root/N-MNIST/Train and Test, as unpacked from the authors' archives, in `bins` frames.

    A recording is an image of 2 bins channels, see `Events.frames`. The frames are cached in the folder. Raises
    UserError for folders that are missing or empty, and for a damaged file.
    """
    folder = root / "N-MNIST"
    train, test = _listing(folder, "Train"), _listing(folder, "Test")
    frames = cached(
        folder, (bins, train, test), lambda: {"train": _read(folder, train, bins), "test": _read(folder, test, bins)}
    )
    return ImageSet("n_mnist", frames["train"], _labels(train), frames["test"], _labels(test), CLASSES)


def read_events(path: Path) -> Events:
    """Return the events of a file. Raises UserError, naming it, when it is damaged."""
    raw = np.fromfile(path, np.uint8)
    if raw.size == 0 or raw.size % BYTES:
        raise UserError(f"data=n_mnist: {path} is damaged: {raw.size} bytes are no whole number of events of {BYTES}.")
    x, y, high, middle, low = raw.reshape(-1, BYTES).astype(np.int64).T
    wraps = y == WRAP_ROW
    time = ((high & 127) << 16 | middle << 8 | low) + WRAP_TIME * wraps.cumsum()
    real = ~wraps
    events = Events(x[real], y[real], time[real], high[real] >> 7)
    if not real.any() or max(events.x.max(), events.y.max()) >= SIDE:
        raise UserError(f"data=n_mnist: {path} is damaged: it has events outside {SIDE}x{SIDE} pixels, or none.")
    return events


def _listing(folder: Path, part: str) -> Files:
    files: Files = []
    for label, name in enumerate(CLASSES):
        place = folder / part / name
        found = sorted(place.glob("*.bin")) if place.is_dir() else []
        if not found:
            raise UserError(
                f"data=n_mnist: no recordings in {place}; unpack Train.zip and Test.zip of N-MNIST into {folder}."
            )
        files += [(f"{part}/{name}/{path.name}", path.stat().st_size, label) for path in found]
    return files


def _labels(files: Files) -> Tensor:
    return torch.tensor([label for _, _, label in files])


def _read(folder: Path, files: Files, bins: int) -> Tensor:
    """Return the frames of all files, uint8 [N, 2 bins, H, W], read by several threads."""

    def frames(entry: tuple[str, int, int]) -> np.ndarray:
        return read_events(folder / entry[0]).frames(bins, SIDE, SIDE)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.from_numpy(np.stack(list(pool.map(frames, files))))
