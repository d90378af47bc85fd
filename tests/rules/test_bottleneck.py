"""The information bottleneck: bounds against numerical integration, and the rules' gradients against autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from snnhll.networks.network import Network
from snnhll.rules import ib, snib
from snnhll.rules.bottleneck import Prior, pairwise_information
from snnhll.rules.bptt import BPTTRule
from snnhll.rules.ib import IBRule
from snnhll.rules.snib import SNIBRule

MakeNetwork = Callable[..., Network]
MakeBatch = Callable[..., tuple[Tensor, Tensor]]
Simulate = Callable[..., Tensor]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters), lr=0.1)


def density(x: Tensor, mean: float, deviation: float) -> Tensor:
    return torch.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))


def prior(mean: list[float], deviation: list[float]) -> Prior:
    found = Prior(len(mean), 1.0).double()
    found.mean.data = torch.tensor(mean, dtype=torch.float64)
    found.log_deviation.data = torch.tensor(deviation, dtype=torch.float64).log()
    return found


def test_divergence_from_the_prior_by_numerical_integration() -> None:
    rates, sigma = [[0.3, 0.8], [0.0, 0.5]], 0.2
    means, deviations = [0.4, 0.1], [0.25, 0.5]
    x = torch.linspace(-4, 5, 40001, dtype=torch.float64)
    total = 0.0
    for sample in rates:
        for rate, mean, deviation in zip(sample, means, deviations, strict=True):
            p, q = density(x, rate, sigma), density(x, mean, deviation)
            seen = p > 1e-200
            total += torch.trapezoid(torch.where(seen, p * (p.clamp(min=1e-200) / q).log(), 0.0), x).item() / 2
    value = prior(means, deviations).information(torch.tensor(rates, dtype=torch.float64), sigma)
    assert value.item() == pytest.approx(total, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0.05, 1.0))
def test_both_bounds_lie_above_the_information_of_a_noisy_rate(rates: list[float], sigma: float) -> None:
    """One neuron and as many equally likely inputs as rates: I(X;Z) is the integral over the mixture of Gaussians."""
    x = torch.linspace(-10, 11, 20001, dtype=torch.float64)
    each = torch.stack([density(x, r, sigma) for r in rates])
    mixture = each.mean(0)
    ratio = torch.where(each > 1e-250, each / mixture.clamp(min=1e-250), 1.0)
    information = torch.trapezoid(each * ratio.log(), x).mean().item()
    r = torch.tensor(rates, dtype=torch.float64)[:, None]
    tightest = (sigma**2 + r.var(unbiased=False)).sqrt().item()
    assert prior([r.mean().item()], [tightest]).information(r, sigma).item() >= information - 1e-7
    assert prior([0.3], [0.7]).information(r, sigma).item() >= information - 1e-7
    assert pairwise_information(r, sigma).item() >= information - 1e-7


def test_pairwise_information_is_none_of_equal_rates_and_all_of_distant_ones() -> None:
    same = torch.full((8, 5), 0.4, dtype=torch.float64)
    assert pairwise_information(same, 0.1).item() == pytest.approx(0.0, abs=1e-7)
    assert pairwise_information(torch.eye(8, dtype=torch.float64), 0.05).item() == pytest.approx(math.log(8))


def fixed_noise(monkeypatch: pytest.MonkeyPatch, module: Any) -> Callable[[Tensor], Tensor]:
    """Let a rule add noise that a test can repeat: sin(k) to the k-th of all entries, times σ = 0.2."""

    def disturbed(rate: Tensor, sigma: float = 0.2) -> Tensor:
        return rate + sigma * torch.arange(rate.numel(), dtype=rate.dtype).sin().view_as(rate)

    monkeypatch.setattr(module, "noisy", disturbed)
    return disturbed


@pytest.mark.parametrize("through_time", [False, True])
@pytest.mark.parametrize(("spec", "size"), [("64-12-9-n", None), ("4C3-P2-6C3s2-FC9-n", 20)])
def test_ib_descends_the_bottleneck_of_each_layer(
    make_network: MakeNetwork,
    make_batch: MakeBatch,
    simulate: Simulate,
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
    size: int | None,
    through_time: bool,
) -> None:
    """Maps of 4x8x8 are pooled to 4x2x2 and maps of 6x2x2 to 6x1x1, to have at most 20 features."""
    noise = fixed_noise(monkeypatch, ib)
    net, plain = make_network(spec), make_network(spec)
    images, labels = make_batch()
    rule = IBRule(net, sgd, beta=0.03, sigma=0.2, head_size=size, through_time=through_time).double()
    for head in rule.heads:
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=0.3)
    held = [{name: p.detach().clone() for name, p in head.named_parameters()} for head in rule.heads]
    rule.step(images, labels)
    x = ((images - 0.5) / 0.25).expand(plain.steps, *images.shape)
    for block, learned, own in zip(plain.blocks, net.blocks, held, strict=True):
        spikes, pool = simulate(block, x, through_time), block.layer.pool
        rate = spikes.sum(0) / plain.steps
        if rate.dim() > 2:
            rate = F.avg_pool2d(rate, 4 if block is plain.blocks[0] else 2)
        scores = noise(rate).flatten(1) @ own["classifier.classifier.weight"].t() + own["classifier.classifier.bias"]
        deviation = own["prior.log_deviation"].exp()
        divergence = torch.distributions.kl_divergence(
            torch.distributions.Normal(rate.flatten(1), 0.2),
            torch.distributions.Normal(own["prior.mean"], deviation),
        )
        loss = F.cross_entropy(scores, labels) + 0.03 * divergence.sum(1).mean()
        (expected,) = torch.autograd.grad(loss, block.synapse.weight)
        torch.testing.assert_close(learned.synapse.weight.grad, expected, rtol=1e-9, atol=1e-12)
        sent = spikes.detach()
        x = sent if pool == 1 else torch.stack([F.max_pool2d(s, pool) for s in sent])


def test_ib_drives_the_prior_to_the_rates_and_information_down(
    make_network: MakeNetwork, make_batch: MakeBatch
) -> None:
    kept = []
    for beta in (0.0, 1.0):
        torch.manual_seed(0)
        rule = IBRule(make_network(), lambda p: torch.optim.Adam(list(p), lr=0.02), beta=beta).double()
        kept.append([rule.step(*make_batch())["layer2/information"] for _ in range(80)][-1])
    assert kept[1] < 0.2 * kept[0]


@pytest.mark.parametrize("power", [1, 2, 4])
def test_snib_descends_the_power_of_the_information_of_its_last_layer(
    make_network: MakeNetwork,
    make_batch: MakeBatch,
    simulate: Simulate,
    monkeypatch: pytest.MonkeyPatch,
    power: int,
) -> None:
    noise = fixed_noise(monkeypatch, snib)
    net, plain = make_network("64-12-9-n"), make_network("64-12-9-n")
    images, labels = make_batch()
    SNIBRule(net, sgd, power, beta=0.3, sigma=0.2).double().step(images, labels)
    x = ((images - 0.5) / 0.25).expand(plain.steps, *images.shape)
    for block in plain.blocks:
        x = simulate(block, x, True)
    rate = x.sum(0) / plain.steps
    logits = noise(rate) @ plain.readout.weight.t() + plain.readout.bias
    alike = torch.exp(-torch.cdist(rate, rate).square() / (2 * 0.2**2))
    information = -alike.mean(1).log().mean()
    loss = F.cross_entropy(logits, labels) + 0.3 * information**power
    learned = [block.synapse.weight for block in net.blocks]
    expected = torch.autograd.grad(loss, [block.synapse.weight for block in plain.blocks])
    for weight, gradient in zip(learned, expected, strict=True):
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-6, atol=1e-9)


def test_snib_without_price_and_noise_is_bptt(make_network: MakeNetwork, make_batch: MakeBatch) -> None:
    ours, reference = make_network(), make_network()
    SNIBRule(ours, sgd, beta=0.0, sigma=1e-12).double().step(*make_batch())
    BPTTRule(reference, sgd).double().step(*make_batch())
    for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
