"""What a rule asks of an optimiser. Those of torch.optim fit."""

from __future__ import annotations

from typing import Any, Protocol


class Optimizer(Protocol):
    """Parameters with what is remembered of their gradients; `param_groups` holds each group's learning rate."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Move every parameter that has a gradient."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs, but for the parameters."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict()` returned."""
