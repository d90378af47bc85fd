"""CIFAR10-DVS: 10,000 images of CIFAR-10 moving before an event camera of 128x128 pixels (Li et al. 2017).

The set has no test part. As is usual, the last tenth of every class, by number, is held out as one.
"""

from __future__ import annotations

import re
from pathlib import Path

from snnhll.build import PositiveInt
from snnhll.data.event_files import read_aedat2
from snnhll.data.imageset import ImageSet
from snnhll.data.recordings import Camera, EventFile, Trial, image_set
from snnhll.errors import UserError

SIDE = 128
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TEST = 10  # one recording in ten


def load(root: Path, bins: PositiveInt = 10, pool: PositiveInt = 2) -> ImageSet:
    """Return the recordings of root/CIFAR10DVS/CLASS/*.aedat, the authors' archives unpacked.

    bins, pool: see `Camera`. Raises UserError for folders that are missing or hold fewer than two recordings, and for a
    damaged file.
    """
    folder = root / "CIFAR10DVS"
    train: list[EventFile] = []
    test: list[EventFile] = []
    for label, name in enumerate(CLASSES):
        found = sorted((folder / name).glob("*.aedat"), key=_number)
        if len(found) < 2:
            raise UserError(
                f"data=cifar10_dvs: {len(found)} recordings (*.aedat) in {folder / name}, expected two or more; unpack "
                f"{name}.zip of CIFAR10-DVS into {folder}."
            )
        files = [EventFile.of(path, folder, [Trial(label)]) for path in found]
        first = len(files) - max(len(files) // TEST, 1)
        train, test = train + files[:first], test + files[first:]
    return image_set("cifar10_dvs", folder, train, test, Camera(read_aedat2, SIDE, bins, pool), CLASSES)


def _number(path: Path) -> tuple[int, str]:
    """Return what sorts cifar10_cat_2 before cifar10_cat_10."""
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else 0), path.name
