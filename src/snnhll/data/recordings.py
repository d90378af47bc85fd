"""Sets of recordings of an event camera: from event files to the frames of every recording, cached beside the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnhll.data.events import Events
from snnhll.data.image_cache import cached
from snnhll.data.imageset import ImageSet
from snnhll.errors import UserError

FOREVER = 2**62  # µs


@dataclass(frozen=True)
class Trial:
    """One recording in a file: its label, and the time in µs from which and before which it lies."""

    label: int
    start: int = 0
    end: int = FOREVER


@dataclass(frozen=True)
class EventFile:
    """A file below the folder of its set, its bytes, when it was written, in ns, and the trials in it."""

    path: str
    size: int
    written: int
    trials: tuple[Trial, ...]

    @staticmethod
    def of(path: Path, folder: Path, trials: Sequence[Trial]) -> EventFile:
        status = path.stat()
        return EventFile(path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns, tuple(trials))


@dataclass(frozen=True)
class Camera:
    """How the files of a set are read and what they become.

    read: the events of a file. side: of the sensor, in pixels. bins: slices of a recording, each a frame a polarity.
    pool: pixels of the sensor on each side of a pixel of the frames.
    """

    read: Callable[[Path], Events]
    side: int
    bins: int
    pool: int

    @property
    def pooled_side(self) -> int:
        return -(-self.side // self.pool)

    def frames(self, path: Path, trials: Sequence[Trial]) -> np.ndarray:
        """Return the frames of each trial of a file, uint8 [N, 2 bins, H, W]. Raises UserError for a damaged file."""
        events = self.read(path)
        if (
            len(events)
            and not 0 <= min(events.x.min(), events.y.min()) <= max(events.x.max(), events.y.max()) < self.side
        ):
            raise UserError(f"{path} is damaged: it has events outside {self.side}x{self.side} pixels.")
        if ((events.p != 0) & (events.p != 1)).any():  # would count on the channels of another slice
            raise UserError(f"{path} is damaged: it has polarities other than 0 and 1; fetch it again.")
        return np.stack([self._frames(path, events.between(trial.start, trial.end)) for trial in trials])

    def _frames(self, path: Path, events: Events) -> np.ndarray:
        if not len(events):
            raise UserError(f"{path} is damaged: a recording in it has no events.")
        return events.pooled(self.pool).frames(self.bins, self.pooled_side, self.pooled_side)


def image_set(
    name: str, folder: Path, train: list[EventFile], test: list[EventFile], camera: Camera, classes: tuple[str, ...]
) -> ImageSet:
    """Return the recordings of two lists of files as images of 2 bins channels, see `Events.frames`.

    The frames are cached in `folder`. Raises UserError for a damaged file.
    """
    key = (camera.bins, camera.pool, train, test)
    frames = cached(folder, key, lambda: {"train": _read(folder, train, camera), "test": _read(folder, test, camera)})
    return ImageSet(name, frames["train"], _labels(train), frames["test"], _labels(test), classes)


def _labels(files: list[EventFile]) -> Tensor:
    return torch.tensor([trial.label for file in files for trial in file.trials])


def _read(folder: Path, files: list[EventFile], camera: Camera) -> Tensor:
    """Return the frames of all trials of all files, uint8 [N, 2 bins, H, W], read by several threads."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(lambda file: camera.frames(folder / file.path, file.trials), files)
        return torch.from_numpy(np.concatenate(list(read)))
