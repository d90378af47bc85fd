"""Checkpoints: written in one step, tied to a configuration, read as data only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from snnhll.errors import UserError


def save(path: Path, config_hash: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint at `path` in one step. Raises UserError when the disk does not take it."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        torch.save({"config_hash": config_hash, **state}, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"Cannot write the checkpoint {path} ({error}). Free space or choose output_dir=FOLDER."
        ) from error


def load(path: Path, config_hash: str, device: torch.device) -> dict[str, Any] | None:
    """Return the state saved at `path`, None when there is none.

    Raises UserError when the file is damaged or belongs to another configuration.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = state["config_hash"]
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path} is damaged and cannot be read; delete it, or start over with force=true ({reason})."
        ) from error
    if found != config_hash:
        raise UserError(
            f"{path} belongs to another configuration ({found}, expected {config_hash}); "
            f"delete the folder or start over with force=true."
        )
    return dict(state)
