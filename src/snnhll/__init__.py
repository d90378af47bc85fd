"""snnhll trains spiking neural networks without backpropagation through the network.

import snnhll
result = snnhll.train(["loss=pred_sim", "data=mnist"])
model = snnhll.load(result.run_dir)      # images [B, C, H, W] with pixels in [0, 1] -> logits [B, classes]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnhll.errors import DivergedError, UserError
from snnhll.version import __version__

if TYPE_CHECKING:
    from snnhll.assemble import load
    from snnhll.experiment import train_from as train
    from snnhll.results import Result

__all__ = ["DivergedError", "Result", "UserError", "__version__", "load", "train"]


def __dir__() -> list[str]:
    """Return the names that exist, also those that are imported only when they are used."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import the parts that need torch only when they are used."""
    if name == "train":
        from snnhll.experiment import train_from

        return train_from
    if name == "load":
        from snnhll.assemble import load

        return load
    if name == "Result":
        from snnhll.results import Result

        return Result
    raise AttributeError(f"module 'snnhll' has no attribute {name!r}")
