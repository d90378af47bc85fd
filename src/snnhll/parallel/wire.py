"""What travels between two stages: the spikes of a batch, and the state of the random generator behind them.

Through the memory of the machine a spike is one bit, between two GPUs one byte. The generator's state goes along, so
that a stage draws the very dropout masks a single process would have drawn. The rate of the spikes is formed anew.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from snnhll.networks.block import Block
from snnhll.networks.rates import Signal
from snnhll.networks.spec import Shape
from snnhll.parallel.team import Team, talking

AHEAD = 2  # messages that may be under way on a link: one is filled or emptied while the other travels


@dataclass(frozen=True)
class Format:
    """How the signal of one layer is written. shape: of one sample at one step; dtype: of the spikes.

    spike: the value of a spike where all have the same (dropout scales them); None where spikes are counts, as in a
    residual block that adds them, and travel as the numbers they are. packed: eight spikes a byte.
    """

    shape: Shape
    steps: int
    dtype: torch.dtype
    spike: float | None
    packed: bool

    @staticmethod
    def of(block: Block, steps: int, dtype: torch.dtype, packed: bool) -> Format:
        """Return the format of what `block` sends in training."""
        kept = torch.ones((), dtype=torch.float32) / (1 - block.dropout)  # as `dropout_mask` scales what it keeps
        spike = None if block.layer.shortcut == "spikes" else float(kept.to(dtype))
        return Format(block.layer.pooled_shape, steps, dtype, spike, packed)

    def size(self, batch: int) -> int:
        """Return the bytes of the spikes of `batch` samples."""
        count = self.steps * batch * prod(self.shape)
        if self.spike is None:
            return count * self.dtype.itemsize
        return -(-count // 8) if self.packed else count

    def write(self, spikes: Tensor) -> Tensor:
        """Return spikes [T, B, ...] as bytes, on their device, or on the CPU where they are packed."""
        in_order = spikes.movedim(2, -1)
        if self.spike is None:
            return in_order.contiguous().view(-1).view(torch.uint8)
        fired = (in_order != 0).contiguous().view(-1)
        return torch.from_numpy(np.packbits(fired.cpu().numpy())) if self.packed else fired.view(torch.uint8)

    def read(self, written: Tensor, batch: int, device: torch.device) -> Signal:
        """Return the signal of `batch` samples that `write` made these bytes of, on `device` and in the memory order
        that a layer writes in."""
        channels, *space = self.shape
        size = (self.steps, batch, *space, channels)
        if self.packed and self.spike is not None:
            written = torch.from_numpy(np.unpackbits(written.numpy(), count=prod(size)))
        written = written.to(device)
        spikes = written.view(self.dtype) if self.spike is None else written.to(self.dtype)
        if self.spike not in (None, 1.0):
            spikes = spikes * self.spike
        return Signal(spikes.view(size).movedim(-1, 2))


class Outbox:
    """Sends the signals of a stage to the next without waiting for them to arrive."""

    def __init__(self, team: Team, form: Format, to: int, device: torch.device) -> None:
        self.team, self.form, self.to, self.device = team, form, to, device
        self._travelling: deque[tuple[dist.Work, Tensor]] = deque()  # the tensor must live until it has arrived

    def send(self, signal: Signal) -> None:
        """Send a signal and the state of the random generator; waits while AHEAD of them have not arrived."""
        state = random_state(self.device).to(self.team.carrier)
        message = torch.cat([state, self.form.write(signal.spikes).to(self.team.carrier)])
        with talking(self.team):
            while len(self._travelling) >= AHEAD:
                self._travelling.popleft()[0].wait()
            work = dist.isend(message, self.to)
        assert work is not None
        self._travelling.append((work, message))


class Inbox:
    """Receives the signals of the stage before, into memory that is offered to it ahead of time."""

    def __init__(self, team: Team, form: Format, source: int, device: torch.device) -> None:
        self.team, self.form, self.source, self.device = team, form, source, device
        self._expected: deque[tuple[dist.Work, Tensor, int]] = deque()
        self._header = len(random_state(device))

    def expect(self, batch: int) -> None:
        """Offer memory for the signal of a further batch of that many samples."""
        size = self._header + self.form.size(batch)
        message = torch.empty(size, dtype=torch.uint8, device=self.team.carrier)
        with talking(self.team):
            work = dist.irecv(message, self.source)
        assert work is not None
        self._expected.append((work, message, batch))

    def take(self) -> Signal:
        """Return the signal of the first batch that is expected, and take over the state of the random generator."""
        work, message, batch = self._expected.popleft()
        with talking(self.team):
            work.wait()
        set_random_state(message[: self._header].cpu(), self.device)
        return self.form.read(message[self._header :], batch, self.device)


def random_state(device: torch.device) -> Tensor:
    """Return the state of torch's generator for a device, as bytes on the CPU."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Set the state of torch's generator for a device."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
