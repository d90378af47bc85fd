"""Which number of a run a table shows, in which unit, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from snnhll.errors import UserError, nearest
from snnhll.results import Result
from snnhll.sweeps.noise import noisy_accuracy

DROP = "accuracy_drop"
LOWER_IS_BETTER = (
    DROP,
    "loading_share",
    "wall_seconds",
    "peak_memory_bytes",
    "parameters",
    "synaptic_operations_per_image",
    "multiply_accumulates_per_image",
    "energy_nj_per_image",
)
ON_TEST = "last epoch, on the test images"
MEASURED = {
    "test_accuracy": ON_TEST,
    DROP: ON_TEST,
    "synaptic_operations_per_image": ON_TEST,
    "energy_nj_per_image": ON_TEST,
    "test_accuracy_best_val": "the epoch best on validation, on the test images",
    "val_accuracy": "last epoch, on the validation images",
    "train_accuracy": "last epoch, on the training images while learning from them",
}
CHOSEN = ("seed", "epochs")  # numbers of result.json that say what was asked for, not what came of it
_NUMBERS = ("float | None", "int | None", "int", "float")


@dataclass(frozen=True)
class Metric:
    """A number of result.json by its name, or the accuracy lost under noise. Accuracies are shown in %."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in known():
            raise UserError(f"--metric {self.name}: no such number in result.json.{nearest(self.name, known())}")

    @property
    def is_accuracy(self) -> bool:
        """Whether the number is a fraction of images, or a difference of two."""
        return "accuracy" in self.name

    @property
    def lower_is_better(self) -> bool:
        """Whether less of it is better."""
        return self.name in LOWER_IS_BETTER

    @property
    def title(self) -> str:
        """How a column or an axis is headed."""
        words = self.name.replace("_", " ")
        if not self.is_accuracy:
            return words
        return f"{words} in {'points' if self.name == DROP else '%'}"

    @property
    def measured(self) -> str | None:
        """When and on which images it is measured; None for what is of the whole run, or of no images."""
        return MEASURED.get(self.name)

    def matches(self, published: Metric) -> bool:
        """Whether figures published as that metric are of this one too: a test accuracy is, of whichever epoch."""
        return self == published or {self.name, published.name} == {"test_accuracy", "test_accuracy_best_val"}

    def of(self, result: Result, noise: list[str]) -> float | None:
        """Return the number of one finished run; accuracies in %. None where the run has none."""
        if self.name == DROP:
            noisy = noisy_accuracy(Path(result.run_dir), noise)
            return None if noisy is None or result.test_accuracy is None else 100 * (result.test_accuracy - noisy)
        value = getattr(result, self.name)
        return None if value is None else float(value) * (100 if self.is_accuracy else 1)

    def text(self, value: float) -> str:
        """Return a value as tables print it."""
        return f"{value:.2f}" if self.is_accuracy else f"{value:.4g}"


def known() -> list[str]:
    """Return the names of all metrics: the numbers of result.json, and the accuracy lost under noise."""
    return [f.name for f in fields(Result) if f.type in _NUMBERS and f.name not in CHOSEN] + [DROP]
