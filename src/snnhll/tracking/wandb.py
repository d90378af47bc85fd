"""Weights & Biases as a mirror of the run folder: offline by default, never needed, never blocking.

The W&B run is opened at the end of the first epoch of a process, so that starting it does not delay training.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from snnhll.results import Result
from snnhll.tracking.tracker import Tracker

ONLINE_TIMEOUT = 20  # seconds; W&B itself would wait 90 for a server that does not answer


class WandbTracker(Tracker):
    """project, group: as W&B understands them. mode: "offline" writes to RUN_DIR/wandb, for `wandb sync` later."""

    def __init__(
        self, project: str = "snnhll", mode: Literal["offline", "online"] = "offline", group: str | None = None
    ) -> None:
        self.project, self.mode, self.group = project, mode, group
        self._run: Any = None
        self._off = False

    def start(self, config: dict[str, Any], run_dir: Path) -> None:
        self._config, self._run_dir = config, run_dir

    def epoch(self, row: dict[str, Any]) -> None:
        if run := self._open():
            run.log(flat(row), step=row["epoch"])

    def finish(self, result: Result, pictures: Sequence[Path]) -> None:
        if run := self._open():
            import wandb

            run.summary.update({k: v for k, v in vars(result).items() if isinstance(v, (int, float, str))})
            if pictures:
                run.log({path.stem: wandb.Image(str(path)) for path in pictures})
            run.finish(exit_code=0 if result.status == "finished" else 1, quiet=True)
            self._run = None

    def _open(self) -> Any:
        """Return the W&B run, opening it on first use; None, after one warning, when W&B cannot be used."""
        if self._run is None and not self._off:
            try:
                self._run = self._init()
            except Exception as error:  # the mirror must never stop a run, whatever is wrong with it
                self._off = True
                warnings.warn(f"W&B is left out of this run: {error}", stacklevel=2)
        return self._run

    def _init(self) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            group=self.group,
            mode=self.mode,
            dir=str(self._run_dir),
            id=self._run_dir.name[-48:],
            name=self._run_dir.name,
            config=self._config,
            resume="allow" if self.mode == "online" else None,
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=ONLINE_TIMEOUT, login_timeout=ONLINE_TIMEOUT
            ),
        )


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts and lists as one level, keys joined by slashes: firing_rates/1, losses/layer1/pred."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, list):
            value = {str(i): v for i, v in enumerate(value, 1)}
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}/")
        elif value is not None:
            out[f"{prefix}{key}"] = value
    return out
