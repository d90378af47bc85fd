"""Images on the training device: loaders of sets, augmentation, noise, and the batches made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from snnhll.build import build, check, convert
from snnhll.data.augment import Augment
from snnhll.data.imageset import ImageSet
from snnhll.data.noise.noise import Noise
from snnhll.data.pipeline import Data

PIPELINE_KEYS = ("limit", "validation", "balanced", "drop_last")
SHARED_KEYS = (*PIPELINE_KEYS, "name", "recommended", "root", "download", "augment")


def open_data(
    cfg_data: Mapping[str, Any],
    *,
    batch_size: int,
    seed: int,
    device: torch.device | str,
    noise: Noise | None = None,
    trust: Iterable[str] = (),
) -> Data:
    """Return the batches that a node of conf/data/ describes, as a plain dict.

    noise: see `Data`. trust: modules of the user's own that a loader may come from. Raises UserError for options that
    are unknown, of a wrong type or out of range, and for sets that are missing or damaged.
    """
    options = pipeline_options(cfg_data)
    return Data(
        open_images(cfg_data, trust),
        batch_size=batch_size,
        seed=seed,
        device=device,
        noise=noise,
        **options,
    )


def pipeline_options(cfg_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked arguments of `Data` in a node of conf/data/. Raises UserError for a wrong type or range."""
    options = check(Data, {key: cfg_data[key] for key in PIPELINE_KEYS if key in cfg_data}, "data")
    augment = check(Augment, convert(cfg_data.get("augment", {}), dict, "data.augment"), "data.augment")
    return options | {"augment": Augment(**augment)}


def open_images(cfg_data: Mapping[str, Any], trust: Iterable[str] = ()) -> ImageSet:
    """Return the set of a node of conf/data/, downloading it when it is missing and data.download is true."""
    root = Path(convert(cfg_data["root"], str, "data.root")).expanduser()
    download = convert(cfg_data["download"], bool, "data.download")
    loader = {key: value for key, value in cfg_data.items() if key not in SHARED_KEYS}
    images: ImageSet = build(loader, "data", trust, root=root, download=download)
    return images
