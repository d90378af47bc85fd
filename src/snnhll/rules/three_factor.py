"""SNN-HBH as an explicit three-factor Hebbian rule (4-36): no automatic differentiation in the spiking layers.

    ΔW ∝ -dL/dW = Σ_ij  third_ij · (r_i - r_j) · (F'_i p_i - F'_j p_j),    third_ij = (k̃(x)_ij - β k̃(y)_ij) k(r)_ij / σ²

    pre    p         rate of what the layer receives
    post   r, F'     the layer's own firing rate (or features of it), and the surrogate derivative
    third            one number per pair of samples, the same for every neuron and synapse of the layer

It is the gradient of loss=hsic with the Gaussian kernel, written out; under the zz objective k̃(x) is 2k̃(r). A layer
needs its own pre- and postsynaptic rates and the kernels of the batch, and nothing of any other layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from snnhll.errors import UserError
from snnhll.kernels.features import Features
from snnhll.kernels.gaussian import Gaussian
from snnhll.losses.hsic import Global, HSICLoss
from snnhll.losses.hybrid import HybridLoss
from snnhll.networks.block import Block
from snnhll.networks.mode import keeping_statistics
from snnhll.networks.network import Network
from snnhll.networks.rates import Signal
from snnhll.networks.spec import Layer
from snnhll.ops import lif_pass, rate_gradient
from snnhll.rules.local import LocalRule, Unit
from snnhll.rules.rule import MakeOptimizer, Metrics

Slope = Literal["membrane", "rate"]


class Factors(NamedTuple):
    """The three factors of a layer's update. pre [B, ...]; post [B, ...]; slope [B, ...], F'; third [B, B]."""

    pre: Tensor
    post: Tensor
    slope: Tensor
    third: Tensor


class Normalised(NamedTuple):
    """What batch normalisation adds to a layer.

    mean, inverse: mean and 1/σ of the current z, [C]. slope_input, mean_input: means over time of F' z and z,
    [B, C, ...].
    """

    mean: Tensor
    inverse: Tensor
    slope_input: Tensor
    mean_input: Tensor


class Response(NamedTuple):
    """What a layer did with a batch: its factors, the kernel matrix [B, B] of its features, and what it sends on."""

    factors: Factors
    similarity: Tensor
    normalised: Normalised | None
    outgoing: Signal


class ThreeFactorRule(LocalRule):
    """The update (4-36) in every spiking layer; the readout learns as under rule=local.

    slope: where F' is taken. "membrane": the mean over time of the surrogate at u[t] - v_th, which makes the update the
    gradient that rule=local follows under trainer.update=rate. "rate": the surrogate at W p - v_th, from rates alone,
    as (4-36) is printed. Raises UserError for a loss, kernel, neuron or normalisation whose gradient has not this form.
    """

    residual: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        make_loss: Callable[[Layer], HybridLoss],
        make_optimizer: MakeOptimizer,
        slope: Slope = "membrane",
    ) -> None:
        super().__init__(network, make_loss, make_optimizer, update="rate")
        self.slope = slope
        for unit in self.units:
            hsic_term(unit.loss)
            check_block(unit.block)

    @torch.no_grad()
    def factors(self, images: Tensor, labels: Tensor) -> Iterator[tuple[str, Factors]]:
        """Yield the name and the three factors of every layer for one batch, to look at; nothing is learned."""
        targets = self.prepare(images, labels)
        signal = Signal(self.network.encode(images))
        for unit in self.units:
            with keeping_statistics(unit.block):
                response = self._respond(unit, signal, targets)
            yield unit.name, response.factors
            signal = response.outgoing

    def learn_layer(self, unit: Unit, signal: Signal, targets: dict[str, Any], metrics: Metrics) -> Signal:
        name, loss, _ = hsic_term(unit.loss)
        response = self._respond(unit, signal, targets)
        update(unit.block, loss.features, response.factors, response.normalised)
        unit.optimizer.step()
        metrics[f"{unit.name}/{name}"] = loss.value(response.similarity, targets[name])
        return response.outgoing

    @torch.no_grad()
    def _respond(self, unit: Unit, signal: Signal, targets: dict[str, Any]) -> Response:
        name, loss, kernel = hsic_term(unit.loss)
        post, slope, normalised, outgoing = run(unit.block, signal, self.network.steps, self.slope)
        features = loss.features(post)
        similarity = loss.similarity(features)
        third = unit.loss.weights[name] * third_factor(loss, kernel, features, similarity, targets[name])
        pre = signal.rate.to(signal.spikes.dtype)
        return Response(Factors(pre, post, slope, third), similarity, normalised, outgoing)


def third_factor(loss: HSICLoss, kernel: Gaussian, features: Tensor, K: Tensor, target: Global) -> Tensor:
    """(k̃(x) - β k̃(y)) k(z)/σ² for every pair, [B, B], of features z [B, D] with kernel matrix K [B, B]."""
    return loss.slope(K, target) * K / kernel.variance(features)


def differences(third: Tensor, post: Tensor) -> Tensor:
    """Σ_j third_ij (post_i - post_j), [B, D]: where the third factor pulls sample i, without a tensor of pairs."""
    return third.sum(1, keepdim=True) * post - third @ post


@torch.no_grad()
def update(block: Block, features: Features, factors: Factors, normalised: Normalised | None) -> None:
    """Put dL/dW of (4-36) into the gradients of the block: of its weights, and of its bias or normalisation."""
    pre, post, slope, third = factors
    pull = -2 * features.pullback(post, differences(third, features(post)))
    if block.norm is None or normalised is None:
        assert block.synapse.bias is not None
        drive = pull * slope
        block.synapse.bias.grad = drive.sum([d for d in range(drive.dim()) if d != 1])
    else:
        n, norm = normalised, block.norm
        statistics = (norm.gamma, n.mean, n.inverse)
        drive, norm.gamma.grad, norm.beta.grad = rate_gradient(
            pull, slope, n.slope_input, n.mean_input, statistics, pre.dtype
        )
    block.synapse.weight.grad = block.synapse.weight_gradient(pre, drive.to(pre.dtype)).to(slope.dtype)


def run(block: Block, signal: Signal, steps: int, slope: Slope) -> tuple[Tensor, Tensor, Normalised | None, Signal]:
    """Run a layer over all steps. Returns its rate, its F', what normalisation adds, and the outgoing signal."""
    settings, surrogate = block.neuron.compiled, block.neuron.surrogate
    assert settings is not None
    z = block.synapse(signal.spikes)
    scale, shift, mean, inverse = (None,) * 4 if block.norm is None else block.norm.affine(z)
    gate = block.gate(z[0].float())
    out = lif_pass(z, steps, settings, surrogate, scale, shift, gate, block.layer.pool)
    derivative, slope_input, mean_input = out.slope, out.slope_input, out.mean_input
    assert derivative is not None
    assert slope_input is not None
    assert mean_input is not None
    if slope == "rate":
        current = mean_input if scale is None or shift is None else affine(mean_input, scale, shift)
        derivative = surrogate.derivative(current - settings.v_th)
        slope_input = derivative * mean_input
    normalised = None if mean is None or inverse is None else Normalised(mean, inverse, slope_input, mean_input)
    return out.rate, derivative, normalised, Signal(out.spikes, out.output_rate)


def affine(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """z scale + shift, per channel of z [B, C, ...]."""
    per_channel = (-1, *(1,) * (z.dim() - 2))
    return z * scale.view(per_channel) + shift.view(per_channel)


def hsic_term(loss: HybridLoss) -> tuple[str, HSICLoss, Gaussian]:
    """The one term of a layer's loss, and its kernel. Raises UserError unless they are HSIC and Gaussian."""
    names = list(loss.weights)
    term = loss.terms[names[0]]
    if len(names) > 1 or not isinstance(term, HSICLoss):
        raise UserError(
            f"rule: three_factor needs loss=hsic alone, got the terms {', '.join(names)}; or use rule=local."
        )
    if not isinstance(term.kernel, Gaussian):
        raise UserError(f"kernel: {term.kernel.name!r} has no three-factor form; use kernel=gaussian, or rule=local.")
    return names[0], term, term.kernel


def check_block(block: Block) -> None:
    """Raise UserError where the gradient of a layer has more parts than the rule writes out."""
    if block.synapse.gain is not None or block.bntt is not None:
        given = "bntt" if block.synapse.gain is None else "weight"
        raise UserError(f"architecture.norm: {given!r} has no three-factor form; use none or batch, or rule=local.")
    if block.neuron.compiled is None:
        raise UserError("neuron: three_factor needs lif or if with a fixed decay; or use rule=local.")
