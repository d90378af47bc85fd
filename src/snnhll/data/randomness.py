"""Random numbers that depend on what they are for, never on what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """Return a generator on `device` whose seed is a hash of `key`, for instance (seed, "augment", epoch, step).

    Equal keys give equal streams, so a resumed run draws what an uninterrupted one would have drawn.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    # 63 bits: torch takes a signed seed
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)
