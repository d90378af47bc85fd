"""Output buffers a caller keeps between calls: fresh memory is paid for page by page when it is first touched."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Workspace:
    """Buffers by role, shape and dtype. What a call returned is overwritten by the next call with the same workspace.

    Give each layer its own, and none where results must outlive the next step.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, tuple[int, ...], torch.dtype], Tensor] = {}

    def take(self, role: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return the contiguous buffer of this role, made on first use; its content is left from the last use."""
        key = (role, tuple(shape), dtype)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, dtype=dtype)
        return self._buffers[key]
