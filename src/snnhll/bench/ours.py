"""Training steps of snnhll, built from the configuration a run would be built from."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from snnhll.allocator import tune
from snnhll.assemble import Problem, build_rule
from snnhll.bench.contest import PRECISIONS
from snnhll.bench.works import CLASSES, Work
from snnhll.config import Config, compose, settings
from snnhll.rules.rule import Rule


def build(work: Work, setting: str, steps: int, extra: tuple[str, ...] = ()) -> Rule:
    """Return the rule that a setting such as "pred_sim rate bf16" or "bptt fp32" names, for T = `steps`."""
    return of_config(compose([*overrides(work, setting, steps), *extra]), work)


def overrides(work: Work, setting: str, steps: int) -> list[str]:
    """Return what describes the training step of a setting on the command line."""
    return [*_network(work), *_learner(setting), f"trainer.steps={steps}", "tracking=none"]


def of_config(config: Config, work: Work) -> Rule:
    """Return the rule of a composed configuration, for images of the shape of `work`."""
    grey = [0.5] * work.shape[0]
    return build_rule(config, settings(config), Problem(work.shape, CLASSES, grey, grey))


def trainer(work: Work, setting: str, steps: int) -> Callable[[Tensor, Tensor], object]:
    """Return a function that trains on one batch: images [B, C, H, W] in [0, 1], labels [B]."""
    return build(work, setting, steps).train().step


def tune_allocator(setting: str) -> None:
    """Set the allocator of this process as a run of that setting would. Call it before the first tensor is made."""
    learner = setting.split()
    tune("accumulate" if learner[0] == "bptt" else learner[1])


def _network(work: Work) -> list[str]:
    return [
        f"data={work.data}",
        f"architecture.spec={work.spec}",
        f"architecture.width={work.width}",
        f"architecture.norm={work.norm}",
        "architecture.dropout=0",
    ]


def _learner(setting: str) -> list[str]:
    *learner, precision = setting.split()
    chosen = ["rule=bptt"] if learner == ["bptt"] else [f"loss={learner[0]}", f"trainer.update={learner[1]}"]
    return [*chosen, f"trainer.precision={PRECISIONS[precision]}"]
