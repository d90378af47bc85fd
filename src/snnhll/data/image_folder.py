"""Any set of images kept as root/train/<class>/ and root/test/<class>/."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from snnhll.build import PositiveInt
from snnhll.data.image_cache import cached
from snnhll.data.image_files import opened
from snnhll.data.imageset import ImageSet
from snnhll.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
CHUNK = 256  # files a thread decodes at a time


@dataclass(frozen=True)
class Listing:
    """The files of one part of a set. labels: int64 [N]. files: (path within root, bytes, mtime in ns)."""

    labels: Tensor
    files: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Decoder:
    """Reads an image file as uint8 [H, W, channels], resized to size x size unless size is None."""

    size: int | None
    channels: int

    def __call__(self, path: Path) -> np.ndarray:
        """Raises UserError, naming the file, when it is not a readable image."""
        with opened(path) as source:
            image = source.convert("RGB" if self.channels == 3 else "L")
        if self.size is not None:
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(image.height, image.width, self.channels)


def load(folder: str | Path, size: PositiveInt | None = None, channels: Literal[1, 3] = 3) -> ImageSet:
    """Return the images of folder/train and folder/test: one folder a class, classes in alphabetical order.

    size: height and width every image is resized to (None: they must all be of one size). channels: 3 colour, 1 grey.
    The decoded pixels are cached in the folder. Raises UserError for a missing or empty folder, one class only, test
    classes that are not the training classes, a file that cannot be read, and images of several sizes.
    """
    root = Path(folder).expanduser()
    classes = class_names("image_folder", root)
    train, test = _listing(root, "train", classes), _listing(root, "test", classes)
    decoder = Decoder(size, channels)
    key = (decoder, train.files, test.files)
    images = cached(root, key, lambda: {"train": _decode(root, train, decoder), "test": _decode(root, test, decoder)})
    return ImageSet("image_folder", images["train"], train.labels, images["test"], test.labels, classes, root.name)


def class_names(name: str, root: Path) -> tuple[str, ...]:
    """Return the classes of root/train and root/test, in alphabetical order.

    Raises UserError, for the set called `name`, where the two do not hold the same classes, two or more.
    """
    train, test = _subfolders(name, root, "train"), _subfolders(name, root, "test")
    if len(train) < 2:
        raise UserError(f"data={name}: {root / 'train'} holds one class only, {train[0]!r}; expected two or more.")
    if differing := sorted(set(train) ^ set(test)):
        raise UserError(
            f"data={name}: train and test in {root} must hold the same classes, "
            f"but only one of them has {', '.join(map(repr, differing[:5]))}."
        )
    return train


def image_names(name: str, folder: Path) -> list[str]:
    """Return the names of the images in a class's folder, sorted. Raises UserError where there are none."""
    found = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(EXTENSIONS))
    if not found:
        raise UserError(f"data={name}: {folder} contains no images; expected files {', '.join(EXTENSIONS)}.")
    return found


def _subfolders(name: str, root: Path, part: str) -> tuple[str, ...]:
    folder = root / part
    if not folder.is_dir():
        raise UserError(
            f"data={name}: {folder} is missing; data.root must hold train/ and test/, each with one folder a class."
        )
    found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise UserError(f"data={name}: {folder} has no class folders; expected one for each class, with its images.")
    return tuple(found)


def _listing(root: Path, part: str, classes: tuple[str, ...]) -> Listing:
    labels: list[int] = []
    files: list[tuple[str, int, int]] = []
    for label, class_ in enumerate(classes):
        found = image_names("image_folder", root / part / class_)
        labels += [label] * len(found)
        files += [_stamp(root, f"{part}/{class_}/{file}") for file in found]
    return Listing(torch.tensor(labels), tuple(files))


def _stamp(root: Path, path: str) -> tuple[str, int, int]:
    status = os.stat(f"{root}/{path}")
    return path, status.st_size, status.st_mtime_ns


def _decode(root: Path, listing: Listing, decoder: Decoder) -> Tensor:
    """Return the images of a listing, uint8 [N, C, H, W], decoded by several threads."""
    paths = [root / path for path, _, _ in listing.files]
    first = decoder(paths[0])
    pixels = np.empty((len(paths), *first.shape), np.uint8)

    def decode_chunk(start: int) -> None:
        for position, path in enumerate(paths[start : start + CHUNK], start):
            image = decoder(path)
            if image.shape != first.shape:
                raise UserError(
                    f"data=image_folder: {path} is {_size(image)} pixels but {paths[0]} is {_size(first)}; "
                    f"resize them all, for example data.size=32."
                )
            pixels[position] = image

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode_chunk, range(0, len(paths), CHUNK)))  # list: so that an exception surfaces
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
