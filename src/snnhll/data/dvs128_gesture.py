"""DVS128 Gesture: 11 gestures of 29 people before an event camera of 128x128 pixels (Amir et al. 2017).

Read as the authors distribute it, in recordings of whole sessions with a table of when which gesture was shown, or as
tonic does, in one array a gesture. Users 1 to 23 train, 24 to 29 test.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from snnhll.build import PositiveInt
from snnhll.data.download import fetch, from_tonic, is_whole
from snnhll.data.event_files import read_aedat3, read_array
from snnhll.data.imageset import ImageSet
from snnhll.data.recordings import Camera, EventFile, Trial, image_set
from snnhll.errors import UserError

SIDE = 128
CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
COLUMNS = ("class", "startTime_usec", "endTime_usec")


def load(root: Path, download: bool, bins: PositiveInt = 10, pool: PositiveInt = 2) -> ImageSet:
    """Return the gestures of root/DvsGesture, the authors' archive unpacked, else of root/DVSGesture, tonic's folder.

    bins, pool: see `Camera`. Raises UserError for folders that are missing or empty, and for a damaged file.
    """
    folder = root / "DvsGesture"
    if folder.is_dir():
        train, test = (_sessions(folder, folder / f"trials_to_{part}.txt") for part in ("train", "test"))
        return image_set("dvs128_gesture", folder, train, test, Camera(read_aedat3, SIDE, bins, pool), CLASSES)
    folder = root / "DVSGesture"
    for part in ("Train", "Test"):
        place = folder / f"ibmGesture{part}"
        if not is_whole(place):
            get = partial(from_tonic, "DVSGesture", root, part == "Train", place)
            fetch("dvs128_gesture", get, root, place, download)
    train, test = (_arrays(folder, folder / f"ibmGesture{part}") for part in ("Train", "Test"))
    return image_set("dvs128_gesture", folder, train, test, Camera(read_array, SIDE, bins, pool), CLASSES)


def _sessions(folder: Path, table: Path) -> list[EventFile]:
    """Return the sessions that a text file names, one a line, with the gestures in them."""
    if not table.is_file():
        raise UserError(f"data=dvs128_gesture: {table} is missing; unpack DvsGesture.tar.gz again.")
    names = [line.strip() for line in table.read_text().splitlines() if line.strip()]
    if missing := next((name for name in names if not (folder / name).is_file()), None):
        raise UserError(f"data=dvs128_gesture: {folder / missing} is missing; unpack DvsGesture.tar.gz again.")
    return [EventFile.of(folder / name, folder, _gestures(folder / name)) for name in names]


def _gestures(session: Path) -> list[Trial]:
    """Return when a session shows which gesture, from the table beside it; classes there count from 1."""
    table = session.with_name(f"{session.stem}_labels.csv")
    try:
        rows = list(csv.DictReader(table.read_text().splitlines()))
        trials = [Trial(int(row["class"]) - 1, int(row["startTime_usec"]), int(row["endTime_usec"])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"data=dvs128_gesture: {table} is missing or damaged; expected rows of {', '.join(COLUMNS)}."
        ) from error
    if not trials or not all(0 <= trial.label < len(CLASSES) for trial in trials):
        raise UserError(f"data=dvs128_gesture: {table} is damaged; expected classes from 1 to {len(CLASSES)}.")
    return trials


def _arrays(folder: Path, place: Path) -> list[EventFile]:
    """Return the gestures of tonic's folder: USER_LIGHT/LABEL.npy."""
    labels = {str(label): label for label in range(len(CLASSES))}
    found = sorted(path for path in place.glob("*/*.npy") if path.stem in labels)
    if not found:
        raise UserError(f"data=dvs128_gesture: no gestures (user*_*/*.npy) in {place}; unpack tonic's archive there.")
    return [EventFile.of(path, folder, [Trial(labels[path.stem])]) for path in found]
