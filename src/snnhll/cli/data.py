"""snnhll data NAME [data.root=DIR ...]   download a data set where needed, read all of it and print what it holds"""

from __future__ import annotations

from collections import Counter

from snnhll.config import compose, options, settings
from snnhll.errors import UserError


def main(arguments: list[str]) -> int:
    """Open the set and print its sizes and classes."""
    name = next((a for a in arguments if "=" not in a), None)
    if name is None:
        raise UserError(f"snnhll data needs the name of a set: {', '.join(options('data', arguments))}.")
    config = compose([f"data={name}", *(a for a in arguments if a != name)])
    from snnhll.data import open_images

    images = open_images(config["data"], settings(config).trust)
    counts = Counter(images.train_labels.tolist())
    size = "x".join(map(str, images.shape))
    print(
        f"{images.variant or images.name}: {len(images.train_labels)} training and {len(images.test_labels)} "
        f"test images of {size}"
    )
    print(
        f"{len(images.classes)} classes, {min(counts.values())} to {max(counts.values())} training images each: "
        f"{', '.join(images.classes)}"
    )
    return 0
