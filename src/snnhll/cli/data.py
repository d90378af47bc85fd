"""snnhll data NAME [data.root=DIR ...]   download a data set where needed, read all of it and print what it holds"""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from snnhll.config import compose, options
from snnhll.errors import UserError


def main(arguments: list[str]) -> int:
    """Open the set and print sizes, classes and the normalisation of its training images."""
    if not arguments or "=" in arguments[0]:
        raise UserError(f"snnhll data needs the name of a set: {', '.join(options('data'))}.")
    from snnhll.data import open_images

    config = compose([f"data={arguments[0]}", *arguments[1:]])
    images = open_images(config["data"])
    counts = Counter(images.train_labels.tolist())
    console = Console(highlight=False, soft_wrap=True)
    size = "x".join(map(str, images.shape))
    console.print(f"{images.variant or images.name}: {len(images.train_labels)} training and {len(images.test_labels)} test images of {size}")
    console.print(f"{len(images.classes)} classes, {min(counts.values())} to {max(counts.values())} training images each: {', '.join(images.classes)}", markup=False)
    return 0
