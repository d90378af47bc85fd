"""White-box attacks: they follow the gradient, stay within reach, and hurt more than chance does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import snnhll
from snnhll.assemble import Problem, build_network, option
from snnhll.config import compose, options, settings
from snnhll.data.noise.attack import Attack, loss_gradient
from snnhll.data.noise.fgsm import FGSM
from snnhll.data.noise.gaussian import GaussianNoise
from snnhll.data.noise.noise import Noise
from snnhll.data.noise.pgd import PGD
from snnhll.data.randomness import generator
from snnhll.errors import UserError
from snnhll.evaluation import evaluations, trials
from snnhll.metrics import evaluate
from snnhll.networks.network import Network
from snnhll.rules.rule import Rule

ATTACKS = [FGSM, PGD]
ROUNDING = 1e-6  # of a difference of pixels in float32
TRAINED = {
    "hll": ["loss=pred"],
    "hbh": ["loss=hsic", "trainer.update=rate", "optimizer.lr=1e-2"],
    "bptt": ["rule=bptt"],
}
DIGITS = ["architecture.spec=64-48-n", "architecture.dropout=0", "trainer.epochs=3", "trainer.steps=4"]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(x: Tensor) -> Tensor:
    """A linear classifier of two classes, whose gradient is known: class 1 scores higher the brighter the image."""
    brightness = x.flatten(1).sum(1)
    return torch.stack([torch.zeros_like(brightness), brightness], 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs on digits, one of each kind of learning."""
    home = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snnhll.reports.run_pictures.draw_run", lambda *_: [])
        patch.setattr("snnhll.experiment.tune", lambda update: None)
        own = ["data=digits", *DIGITS, "tracking=none", f"output_dir={home}"]
        return {name: Path(snnhll.train([*own, *overrides]).run_dir) for name, overrides in TRAINED.items()}


@pytest.mark.parametrize("attack", ATTACKS)
@given(seed=st.integers(0, 2**31), epsilon=st.floats(0, 1), clip=st.booleans())
def test_stays_within_reach_repeats_and_leaves_its_input(
    attack: type[Attack], seed: int, epsilon: float, clip: bool
) -> None:
    images, labels = torch.rand(4, 1, 3, 3, generator=draw(5)), torch.tensor([0, 1, 0, 1])
    before = images.clone()
    noise = attack(epsilon=epsilon, clip=clip)
    attacked = noise.against(line, images, labels, draw(seed))
    assert float((attacked - images).abs().max()) <= epsilon + ROUNDING
    assert not clip or bool(((attacked >= 0) & (attacked <= 1)).all())
    assert torch.equal(attacked, noise.against(line, images, labels, draw(seed)))
    assert torch.equal(images, before)
    assert not attacked.requires_grad


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_epsilon_of_zero_changes_nothing(attack: type[Attack]) -> None:
    images = torch.rand(4, 1, 3, 3, generator=draw())
    assert torch.equal(attack(epsilon=0).against(line, images, torch.tensor([0, 1, 0, 1]), draw()), images)


@pytest.mark.parametrize("attack", [FGSM(epsilon=0.2, clip=False), PGD(epsilon=0.2, clip=False)])
def test_a_linear_classifier_is_attacked_as_far_as_the_ball_reaches(attack: Attack) -> None:
    """Its loss rises along one diagonal of the ball, so one step and many end in the same corner."""
    images, labels = torch.rand(4, 1, 3, 3, generator=draw()), torch.tensor([0, 1, 0, 1])
    expected = images + 0.2 * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    torch.testing.assert_close(attack.against(line, images, labels, draw()), expected)


def test_the_random_start_is_seeded_and_can_be_left_out() -> None:
    images, labels = torch.rand(4, 1, 3, 3, generator=draw()), torch.zeros(4, dtype=torch.long)

    def attacked(seed: int, random_start: bool) -> Tensor:
        # steps too short to reach the edge of the ball, where every start ends in one point
        return PGD(epsilon=0.2, alpha=0.01, steps=2, random_start=random_start).against(
            line, images, labels, draw(seed)
        )

    assert not torch.equal(attacked(0, True), attacked(1, True))
    assert torch.equal(attacked(0, False), attacked(1, False))
    torch.testing.assert_close(attacked(0, False), (images + 0.02).clamp(0, 1))


def by_hand(network: Network, images: Tensor) -> Tensor:
    """The logits of a dense network of LIF neurons, simulated step by step with autograd's own graph."""
    x = ((images - network.mean) / network.std).flatten(1)
    steps = [x] * network.steps
    for block in network.blocks:
        v, out = torch.zeros(()), []
        for received in steps:
            u = 0.7 * v + received @ block.synapse.weight.t() + block.synapse.bias
            distance = u - 0.6
            smooth = distance.sign() * (1 - torch.exp(-distance.abs()))  # its slope is exp(-|u - v_th|)
            s = (distance >= 0).to(u.dtype) + smooth - smooth.detach()
            v = u - 0.6 * s.detach()
            out.append(s)
        steps = out
    return torch.stack(steps).mean(0) @ network.readout.weight.t() + network.readout.bias


def test_the_gradient_is_that_of_an_independent_simulation(
    make_network: Callable[..., Network], make_batch: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    network, (images, labels) = make_network("64-12-9-n").eval(), make_batch()
    x = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(by_hand(network, x), labels, reduction="sum"), x)
    assert expected.abs().min() > 0
    torch.testing.assert_close(loss_gradient(network, images, labels), expected)
    attacked = FGSM(epsilon=0.05, clip=False).against(network, images, labels, draw())
    assert torch.equal((attacked - images).sign(), expected.sign())


def random_signs(images: Tensor, epsilon: float, first: int) -> Tensor:
    signs = torch.randint(0, 2, images.shape, generator=generator("cpu", "signs", first)) * 2 - 1
    return (images + epsilon * signs).clamp(0, 1)


@pytest.mark.parametrize("learning", list(TRAINED))
def test_attacks_hurt_more_than_random_signs_of_the_same_size(runs: dict[str, Path], learning: str) -> None:
    epsilon = 0.1
    run = runs[learning]
    levels = [f"noise.epsilon={e}" for e in (0, epsilon)]
    clean, fgsm = (row["test_accuracy"] for row in evaluations(run, [["noise=fgsm", level] for level in levels]))
    (pgd,) = (row["test_accuracy"] for row in evaluations(run, [["noise=pgd", levels[1]]]))
    (plain,) = trials(run, [[]])
    by_chance = [(random_signs(x, epsilon, i), y) for i, (x, y) in enumerate(plain.batches())]
    random = evaluate(plain.rule, by_chance, 10).accuracy
    assert clean == evaluations(run, [[]])[0]["test_accuracy"]
    assert clean > 0.7
    assert fgsm <= random
    assert pgd <= random
    assert fgsm < clean - 0.1


@pytest.mark.parametrize("learning", list(TRAINED))
def test_many_steps_raise_the_loss_at_least_as_far_as_one(runs: dict[str, Path], learning: str) -> None:
    names = ("none", "fgsm", "pgd")
    losses = {}
    for name, trial in zip(names, trials(runs[learning], [[f"noise={name}"] for name in names]), strict=True):
        losses[name] = mean_loss(trial.rule, trial.batches())
    assert losses["none"] < losses["fgsm"] <= losses["pgd"]


@torch.no_grad()
def mean_loss(rule: Rule, batches: object) -> float:
    parts = [(F.cross_entropy(rule.network(x), y, reduction="sum"), len(y)) for x, y in batches]  # type: ignore[attr-defined]
    return float(sum(loss for loss, _ in parts)) / sum(count for _, count in parts)


def test_an_attack_without_a_network_or_a_gradient_is_refused() -> None:
    images, labels = torch.rand(2, 1, 3, 3), torch.tensor([0, 1])
    with pytest.raises(UserError, match="noise=fgsm: an attack needs a network"):
        FGSM()(images, draw())
    with pytest.raises(UserError, match="noise=pgd: no gradient reaches the images"):
        PGD().against(lambda x: line(x.round().detach().requires_grad_()), images, labels, draw())


@pytest.mark.parametrize("code", [name for name in options("encoding") if name not in ("direct", "frames")])
def test_a_code_of_spikes_lets_no_gradient_through_to_the_image(code: str) -> None:
    """Rounding has the derivative 0, not none: an attack that believed it would leave every image as it is."""
    config = compose([f"encoding={code}", "architecture.spec=FC8-n", "trainer.steps=6"])
    network = build_network(config, settings(config), Problem((1, 3, 3), 2, [0.5], [0.5]))
    with pytest.raises(UserError, match="no gradient reaches the images through this network; use encoding=direct"):
        FGSM().against(network, torch.rand(2, 1, 3, 3), torch.tensor([0, 1]), draw())


@pytest.mark.parametrize("rule", ["ide", "eqprop"])
def test_a_rule_whose_feedback_takes_part_in_classifying_is_not_attacked(rule: str, tmp_path: Path) -> None:
    """Its network's forward pass is another classifier, and the attack would be one on that."""
    own = ["data=digits", *DIGITS, "trainer.epochs=1", "data.limit=8", "tracking=none", f"output_dir={tmp_path}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snnhll.reports.run_pictures.draw_run", lambda *_: [])
        patch.setattr("snnhll.experiment.tune", lambda update: None)
        run = Path(snnhll.train([*own, f"rule={rule}", "neuron=if", "architecture.norm=none"]).run_dir)
    with pytest.raises(UserError, match="an attack needs a network that classifies in one forward pass"):
        evaluations(run, [["noise=fgsm"]])


def test_noise_of_training_alone_is_not_evaluated_in_silence(runs: dict[str, Path]) -> None:
    with pytest.raises(
        UserError, match=r"noise\.when: 'train' leaves the test images as they are; add noise\.when=test"
    ):
        evaluations(runs["hll"], [["noise=gaussian", "noise.when=train"]])


def test_noise_that_is_no_attack_pays_no_heed_to_the_network() -> None:
    images, labels = torch.rand(2, 1, 3, 3), torch.tensor([0, 1])
    noise: Noise = GaussianNoise()
    assert torch.equal(noise.against(line, images, labels, draw()), noise(images, draw()))


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_attacks_do_not_train(name: str) -> None:
    with pytest.raises(UserError, match=r"noise\.when: 'train' is not an option\. Known: test"):
        option(compose([f"noise={name}", "noise.when=train"]), "noise")
