"""What a run keeps in its folder while it trains: checkpoint, best weights, metrics."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from snnhll import checkpoint, memory
from snnhll.errors import UserError
from snnhll.losses.loss import Similarity
from snnhll.results import RunFolder
from snnhll.rules.rule import Rule


class RunState:
    """Saves and restores one run.

    every: seconds between checkpoints within an epoch. problem: image shape, classes and normalisation, kept with the
    weights so that they can be loaded without the data.
    """

    def __init__(
        self, folder: RunFolder, config_hash: str, device: torch.device, every: float, problem: dict[str, Any]
    ) -> None:
        self.folder, self.config_hash, self.device, self.every = folder, config_hash, device, every
        self.problem = problem
        self._last_save = time.monotonic()

    def resume(self, rule: Rule) -> dict[str, Any]:
        """Restore the last checkpoint into `rule` and return the progress stored with it; {} for a fresh start."""
        state = checkpoint.load(self.folder.path / "checkpoint.pt", self.config_hash, self.device)
        if state is None:
            self.folder.keep_metrics(0)
            return {}
        self._check_problem(state["problem"])
        rule.restore(state["rule"])
        progress: dict[str, Any] = state["progress"]
        self.folder.keep_metrics(progress["epoch"])
        return progress

    def _check_problem(self, stored: dict[str, Any]) -> None:
        """Raise UserError where the checkpoint is of other images. Their statistics may differ by rounding, between
        devices."""
        if not all(_alike(stored[key], value) for key, value in self.problem.items()):
            raise UserError(
                f"{self.folder.path} was begun with other images than data.root holds now; continue it with those, "
                f"start over with force=true, or choose output_dir=FOLDER."
            )

    def save_is_due(self) -> bool:
        """Return whether the last checkpoint is older than `every`."""
        return time.monotonic() - self._last_save > self.every

    def save(self, rule: Rule, progress: dict[str, Any]) -> None:
        """Write the checkpoint a resumed run continues from."""
        state = {"rule": rule.checkpoint(), "progress": progress, "problem": self.problem}
        checkpoint.save(self.folder.path / "checkpoint.pt", self.config_hash, state)
        self._last_save = time.monotonic()

    def save_best(self, rule: Rule) -> None:
        """Keep the weights of the best epoch on validation."""
        checkpoint.save(self.folder.path / "best.pt", self.config_hash, {"module": rule.state_dict()})

    def load_best(self, rule: Rule) -> bool:
        """Put the weights of the best epoch into `rule`; False when none were kept (no validation split)."""
        state = checkpoint.load(self.folder.path / "best.pt", self.config_hash, self.device)
        if state is None:
            return False
        rule.load_state_dict(state["module"])
        return True

    def keep_similarities(self, epoch: int, layers: list[Similarity]) -> None:
        """Keep the kernel matrices of one epoch, for pictures."""
        kept = self.similarities() | {epoch: torch.stack([layers[0].labels, *(s.features for s in layers)]).cpu()}
        checkpoint.save(self.folder.path / "similarities.pt", self.config_hash, {"epochs": kept})

    def similarities(self) -> dict[int, Tensor]:
        """Return the kernel matrices that were kept, by epoch: [1 + layers, B, B], that of the labels first."""
        state = checkpoint.load(self.folder.path / "similarities.pt", self.config_hash, torch.device("cpu"))
        return {} if state is None else state["epochs"]

    def log(self, row: dict[str, Any]) -> None:
        """Append one epoch to metrics.jsonl, with the peak memory so far."""
        row["peak_memory_bytes"] = memory.peak(self.device)
        self.folder.append_metrics(row)


def _alike(a: Any, b: Any) -> bool:
    """Whether two numbers, or lists of them, are equal to rounding."""
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_alike, a, b))
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
