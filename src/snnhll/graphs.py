"""Training steps recorded as a CUDA graph: one launch instead of one for each of some hundred small kernels.

The first steps run as they are; then one is recorded, which executes nothing, and replayed from there on with its
inputs copied into place. A learning rate is a constant of the recording, so a change of it makes a new one. Random
numbers stay those of (seed, epoch, step): a replay draws from the generator's seed of the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.optimizers.optimizer import Optimizer
from snnhll.rules.rule import Metrics, Rule

WARM_UP = 3  # steps before the recording: what compiles, allocates or is looked at once is then behind us

Step = Callable[[Tensor, Tensor], Metrics]


def step_of(rule: Rule, recorded: bool) -> Step:
    """Return the training step of a rule, recorded after a few steps if asked for."""
    return RecordedStep(rule) if recorded else rule.step


def check_recordable(rule: Rule, device: torch.device, parallel: str) -> None:
    """Raise UserError where steps of `rule` on `device` cannot be recorded. parallel: trainer.parallel."""
    if device.type != "cuda":
        raise UserError(f"trainer.cuda_graphs: needs a CUDA device, and this run is on {device.type}; set it to false.")
    if parallel != "none":
        raise UserError("trainer.cuda_graphs: steps of several processes are not recorded; use trainer.parallel=none.")
    if not rule.recordable:
        raise UserError(
            f"trainer.cuda_graphs: steps of {type(rule).__name__} cannot be recorded; set it to false, or use a "
            f"rule such as local or bptt."
        )


@dataclass
class Recording:
    """A recorded step: what fills its inputs and runs it, for batches of one shape at given learning rates."""

    shape: torch.Size
    rates: list[float]
    replay: Step


class RecordedStep:
    """The step of a rule, recorded when it has run WARM_UP times. A batch of another shape runs unrecorded."""

    def __init__(self, rule: Rule, record: Callable[[Rule, Tensor, Tensor], Step] | None = None) -> None:
        self.rule, self.record = rule, record or record_step
        self.steps = 0
        self.recording: Recording | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Metrics:
        self.steps += 1
        if self.steps <= WARM_UP or (self.recording is not None and images.shape != self.recording.shape):
            return self.rule.step(images, labels)
        rates = [float(group["lr"]) for optimizer in self.rule.optimizers for group in optimizer.param_groups]
        if self.recording is None or self.recording.rates != rates:
            self.recording = None  # its memory is free before the next recording needs as much
            self.recording = Recording(images.shape, rates, self.record(self.rule, images, labels))
        return self.recording.replay(images, labels)


def record_step(rule: Rule, images: Tensor, labels: Tensor) -> Step:
    """Record one step of `rule` on batches of this shape, and return what replays it. Nothing is learned meanwhile."""
    own = images.clone(), labels.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(images.device), capturable(rule.optimizers), torch.cuda.graph(graph):
        metrics = rule.step(*own)
        values = torch.stack([value.float() for value in metrics.values()])

    def replay(images: Tensor, labels: Tensor) -> Metrics:
        own[0].copy_(images)
        own[1].copy_(labels)
        graph.replay()
        return dict(zip(metrics, values.clone().unbind(), strict=True))

    return replay


@contextmanager
def capturable(optimizers: list[Optimizer]) -> Iterator[None]:
    """Let those of torch.optim that count their steps be recorded: with the count on the device of the parameters."""
    counting = [optimizer for optimizer in optimizers if isinstance(optimizer, torch.optim.Optimizer)]
    groups = [group for optimizer in counting for group in optimizer.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for optimizer in counting:
        for parameter, state in optimizer.state.items():
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(parameter.device)
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value
