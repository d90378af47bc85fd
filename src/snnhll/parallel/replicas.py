"""Data parallelism: every process has the whole network and a share of each batch.

The numbers are those of one process with the whole batch, to the rounding of sums taken in another order. With weights
w_r = B_r/B and the loss L_r of process r's share,

    gradient         Σ_r w_r dL_r/dθ, as soon as a backward pass has left dL_r/dθ
    normalisation    mean and variance of the whole batch, with the gradient through them
    pairs            a loss that compares samples (similarity, contrastive, HSIC) has the features of all; its gradient
                     reaches those of the process's own samples
    dropout          the mask of the whole batch, of which a process takes its rows
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnhll.assemble import Parts
from snnhll.errors import UserError
from snnhll.losses.loss import Loss
from snnhll.losses.weighting.fixed import Fixed
from snnhll.networks.block import Block, dropout_mask
from snnhll.networks.bntt import BNTT
from snnhll.networks.norm import BatchNorm
from snnhll.parallel.shared import SharedRule, Table
from snnhll.parallel.team import Team
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.local import LocalRule
from snnhll.rules.rule import Metrics, Rule

RULES = (LocalRule, BPTTRule)  # these alone: a rule derived from one may use more of a batch than the mean of a loss


def check(parts: Parts, processes: int) -> None:
    """Raise UserError for what has not the numbers of one process when batches are shared."""
    rule, data = parts.rule, parts.data
    if type(rule) not in RULES:
        raise UserError(
            f"trainer.parallel: {type(rule).__name__} takes more from a batch than the mean of a loss over samples; "
            f"data needs rule=local or bptt."
        )
    if isinstance(rule, LocalRule) and not all(isinstance(loss.weighting, Fixed) for loss in rule.losses):
        raise UserError("loss.weighting: weights that follow the losses see one share of a batch; data needs fixed.")
    if any(isinstance(module, BNTT) for module in rule.network.modules()):
        raise UserError("architecture.norm: bntt takes statistics in one process; data needs none, batch or weight.")
    if rule.network.encoding.random:
        raise UserError(
            "encoding: its random numbers are drawn for a whole batch; trainer.parallel=data needs another."
        )
    rest = len(data.splits["train"]) % data.batch_size
    smallest = rest if data.steps_per_epoch * data.batch_size > len(data.splits["train"]) else data.batch_size
    if smallest < processes:
        raise UserError(
            f"trainer.processes: a batch of {smallest} images has no share for each of {processes}; use fewer, larger "
            f"batches or data.drop_last=true."
        )


class Share:
    """The rows of the present batch that this process has: `rows` of `total`. weight: its part of them, w_r."""

    def __init__(self, team: Team) -> None:
        self.team = team

    def begin(self, total: int) -> None:
        """Turn to a batch of `total` samples."""
        edges = [total * rank // self.team.size for rank in (self.team.rank, self.team.rank + 1)]
        self.total, self.rows, self.weight = total, slice(*edges), (edges[1] - edges[0]) / total

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the whole batch of what x is the mean of over these rows; differentiable."""
        whole: Tensor = _Mean.apply(x, self)
        return whole

    def gathered(self, x: Tensor, dim: int = 0) -> Tensor:
        """Return x with the rows of all processes along `dim`; differentiable with respect to the own rows."""
        whole: Tensor = _Gather.apply(x, self, dim)
        return whole

    def mask(self, like: Tensor, p: float) -> Tensor:
        """Return the own rows of the dropout mask of the whole batch."""
        return dropout_mask(like[:1].expand(self.total, *like.shape[1:]), p)[self.rows]


class _Mean(torch.autograd.Function):
    """Σ_r w_r x_r. The derivative of Σ_k w_k L_k with respect to x_r is w_r Σ_k w_k dL_k/d(mean); the factor w_r comes
    with the averaging of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return share.team.sum(x * share.weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.share.team.sum(grads[0] * ctx.share.weight), None


class _Gather(torch.autograd.Function):
    """All rows. Every process computes the whole loss, whose derivative by the own rows is divided by w_r, the factor
    that comes with the averaging of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share, dim: int) -> Tensor:
        ctx.share, ctx.dim, ctx.rows, ctx.weight = share, dim, (share.rows.start, x.shape[dim]), share.weight
        whole = x.new_zeros((*x.shape[:dim], share.total, *x.shape[dim + 1 :]))
        whole.narrow(dim, *ctx.rows).copy_(x)
        return share.team.sum(whole)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].narrow(ctx.dim, *ctx.rows) / ctx.weight, None, None


class ReplicaRule(SharedRule):
    """`inner` on this process's share of every batch. gather: whether losses compare all samples or the own ones."""

    def __init__(self, inner: Rule, team: Team, gather: bool) -> None:
        super().__init__(inner, team)
        self.share = Share(team)
        for module in inner.modules():
            if isinstance(module, BatchNorm):
                module.across = self.share
            elif isinstance(module, Block):
                module.mask = self.share.mask
            elif isinstance(module, Loss) and gather:
                module.gathered = self.share.gathered
        for parameter in inner.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._average)

    def learn(self, images: Tensor, labels: Tensor) -> Metrics:
        self.share.begin(len(labels))
        metrics = self.inner.step(images[self.share.rows], labels[self.share.rows])
        return {name: value if name == "correct" else value * self.share.weight for name, value in metrics.items()}

    def merged(self, tables: list[Table]) -> Table:
        return {name: torch.stack([table[name] for table in tables]).sum(0) for name in tables[0]}

    def _average(self, parameter: Tensor) -> None:
        """Put Σ_r w_r g_r in the place of the gradient g_r that a parameter has just received."""
        assert parameter.grad is not None
        mean = self.team.sum(parameter.grad.flatten() * self.share.weight)
        parameter.grad.copy_(mean.view_as(parameter.grad))
