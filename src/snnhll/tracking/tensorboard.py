"""TensorBoard as a mirror of the run folder: RUN_DIR/tensorboard, to be read by `tensorboard --logdir outputs`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snnhll.results import Result
from snnhll.tracking.tracker import Tracker
from snnhll.tracking.wandb import flat


class TensorBoardTracker(Tracker):
    """Writes what an epoch measured as scalars, the configuration as text, and the pictures of the finished run.

    A resumed run drops what an earlier process wrote beyond its checkpoint. Needs the extra `tensorboard`; without it,
    or when it breaks, the run warns once and goes on.
    """

    def __init__(self) -> None:
        self._writer: Any = None
        self._off = False

    def start(self, config: dict[str, Any], run_dir: Path) -> None:
        self._config, self._run_dir = config, run_dir

    def epoch(self, row: dict[str, Any]) -> None:
        def log(writer: Any) -> None:
            for name, value in flat(row).items():
                if name != "epoch":
                    writer.add_scalar(name, value, row["epoch"])
            writer.flush()

        self._mirror(log, first=row["epoch"])

    def finish(self, result: Result, pictures: Sequence[Path]) -> None:
        def close(writer: Any) -> None:
            from matplotlib.image import imread

            for path in pictures:
                writer.add_image(path.stem, imread(path)[..., :3], result.epochs, dataformats="HWC")
            reached = {
                k: v for k, v in vars(result).items() if isinstance(v, (int, float)) and k not in ("seed", "epochs")
            }
            for name, value in reached.items():
                writer.add_scalar(f"result/{name}", value, result.epochs)
            writer.close()

        self._mirror(close, first=result.epochs)
        self._writer = None

    def _mirror(self, action: Callable[[Any], None], first: int) -> None:
        """Do `action` with the writer, opened on first use; `first`: the epoch that this process begins with."""
        if self._off:
            return
        try:
            if self._writer is None:
                self._writer = self._open(first)
            action(self._writer)
        except Exception as error:
            self._off = True
            hint = "; pip install 'snnhll[tensorboard]'" if isinstance(error, ImportError) else ""
            warnings.warn(f"TensorBoard is left out of this run: {error}{hint}", stacklevel=2)

    def _open(self, first: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(self._run_dir / "tensorboard"), purge_step=first)
        if first == 0:
            writer.add_text("configuration", f"```json\n{json.dumps(self._config, indent=2)}\n```")
        return writer
