"""Weights & Biases as a mirror of the run folder: offline by default, never needed, never blocking.

The W&B run is opened at the end of the first epoch of a process, so that starting it does not delay training.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from snnhll.results import Result
from snnhll.tracking.tracker import Tracker

ONLINE_TIMEOUT = 20  # seconds; W&B itself would wait 90 for a server that does not answer


class WandbTracker(Tracker):
    """project, group, job_type: as W&B understands them. mode: "offline" writes to RUN_DIR/wandb, for `wandb sync`."""

    def __init__(
        self,
        project: str = "snnhll",
        mode: Literal["offline", "online"] = "offline",
        group: str | None = None,
        job_type: str | None = None,
    ) -> None:
        self.project, self.mode, self.group, self.job_type = project, mode, group, job_type
        self._run: Any = None
        self._off = False

    def start(self, config: dict[str, Any], run_dir: Path) -> None:
        self._config, self._run_dir = config, run_dir

    def epoch(self, row: dict[str, Any]) -> None:
        self._mirror(lambda run: run.log(flat(row), step=row["epoch"]))

    def finish(self, result: Result, pictures: Sequence[Path]) -> None:
        def close(run: Any) -> None:
            import wandb

            run.summary.update({k: v for k, v in vars(result).items() if isinstance(v, (int, float, str))})
            if pictures:
                run.log({path.stem: wandb.Image(str(path)) for path in pictures})
            run.finish(exit_code=0 if result.status == "finished" else 1)

        self._mirror(close)
        self._run = None

    def _mirror(self, action: Callable[[Any], None]) -> None:
        """Do `action` with the W&B run, opened on first use. After a failure W&B is left alone and the run goes on."""
        if self._off:
            return
        try:
            if self._run is None:
                self._run = self._init()
            action(self._run)
        except Exception as error:
            self._off = True
            warnings.warn(f"W&B is left out of this run: {error}", stacklevel=2)

    def _init(self) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            group=self.group,
            job_type=self.job_type,
            mode=self.mode,
            dir=str(self._run_dir),
            id=self._run_dir.name[-48:],
            name=self._run_dir.name,
            config=self._config,
            resume="allow" if self.mode == "online" else None,
            reinit="finish_previous",
            settings=quiet_settings(),
        )


def quiet_settings() -> Any:
    """Return settings under which W&B says nothing and does not wait long for a server."""
    import wandb

    return wandb.Settings(silent=True, console="off", init_timeout=ONLINE_TIMEOUT, login_timeout=ONLINE_TIMEOUT)


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
