"""N-MNIST: MNIST seen by a moving event camera, 60,000 + 10,000 recordings of 34x34 pixels (Orchard et al. 2015)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from snnhll.build import PositiveInt
from snnhll.data.download import fetch, from_tonic, is_whole
from snnhll.data.event_files import read_bin
from snnhll.data.imageset import ImageSet
from snnhll.data.recordings import Camera, EventFile, Trial, image_set
from snnhll.errors import UserError

SIDE = 34
CLASSES = tuple(str(digit) for digit in range(10))


def load(root: Path, download: bool, bins: PositiveInt = 10, pool: PositiveInt = 1) -> ImageSet:
    """Return the recordings of root/NMNIST/Train and Test, the authors' archives where tonic unpacks them.

    bins, pool: see `Camera`. Raises UserError for folders that are missing or empty, and for a damaged file.
    """
    folder = root / "NMNIST"
    for part in ("Train", "Test"):
        place = folder / part
        if not is_whole(place):
            get = partial(from_tonic, "NMNIST", root, part == "Train", place)
            fetch("n_mnist", get, root, place, download)
    camera = Camera(read_bin, SIDE, bins, pool)
    return image_set("n_mnist", folder, _listing(folder, "Train"), _listing(folder, "Test"), camera, CLASSES)


def _listing(folder: Path, part: str) -> list[EventFile]:
    files: list[EventFile] = []
    for label, name in enumerate(CLASSES):
        found = sorted((folder / part / name).glob("*.bin"))
        if not found:
            raise UserError(
                f"data=n_mnist: no recordings in {folder / part / name}; unpack Train.zip and Test.zip of N-MNIST "
                f"into {folder}."
            )
        files += [EventFile.of(path, folder, [Trial(label)]) for path in found]
    return files
