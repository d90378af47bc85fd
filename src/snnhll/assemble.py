"""From a composed configuration to the objects of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnhll import checkpoint
from snnhll.build import build
from snnhll.config import Config, Settings, identity, settings
from snnhll.data import Data, open_data
from snnhll.data.noise.noise import Noise
from snnhll.data.randomness import generator
from snnhll.errors import UserError
from snnhll.graphs import check_recordable
from snnhll.losses.hybrid import HybridLoss
from snnhll.losses.options import loss_options
from snnhll.networks.mode import evaluating
from snnhll.networks.network import Network
from snnhll.networks.spec import Layer, Shape, parse
from snnhll.neurons.neuron import Neuron
from snnhll.optimizers.optimizer import Optimizer
from snnhll.rules.rule import Rule
from snnhll.schedules.schedule import Schedule
from snnhll.tracking.tracker import Tracker


@dataclass(frozen=True)
class Problem:
    """What a network has to fit: shape (C, H, W) and classes of the images, per-channel mean and std of their
    pixels."""

    shape: Shape
    classes: int
    mean: list[float]
    std: list[float]

    @staticmethod
    def of(data: Data) -> Problem:
        """Return the problem that `data` poses; mean and std are those of the training split."""
        return Problem(tuple(data.shape), len(data.classes), data.mean.tolist(), data.std.tolist())


@dataclass(frozen=True)
class Parts:
    """The objects of a run."""

    data: Data
    problem: Problem
    rule: Rule
    schedule: Schedule
    noise: Noise
    tracker: Tracker


def assemble(config: Config, chosen: Settings) -> Parts:
    """Build everything a run needs. Whatever is wrong with the configuration shows here, before anything is written."""
    device = pick_device(chosen.device)
    noise = option(config, "noise", chosen.trust)
    batch_size = chosen.trainer.batch_size
    data = open_data(
        config["data"], batch_size=batch_size, seed=chosen.seed, device=device, noise=noise, trust=chosen.trust
    )
    problem = Problem.of(data)
    torch.manual_seed(chosen.seed)
    rule = build_rule(config, chosen, problem).to(device)
    if chosen.trainer.cuda_graphs:
        check_recordable(rule, device, chosen.trainer.parallel)
    parts = Parts(
        data,
        problem,
        rule,
        option(config, "schedule", chosen.trust),
        noise,
        option(config, "tracking", chosen.trust),
    )
    _try_out(parts, chosen.trainer.epochs)
    return parts


def _try_out(parts: Parts, epochs: int) -> None:
    """Raise UserError now for a schedule, an encoding or a noise that would refuse its work in training or after."""
    parts.schedule.factor(0, epochs)
    device = parts.data.device
    image = torch.zeros(1, *parts.problem.shape, device=device)
    with evaluating(parts.rule):
        parts.rule.network.encode(image)
        if parts.noise.acts_in("test"):
            label = torch.zeros(1, dtype=torch.int64, device=device)
            parts.noise.against(parts.rule.classifier, image, label, generator(device, 0))


def option(config: Config, group: str, trust: Iterable[str] = (), **context: Any) -> Any:
    """Build the chosen option of a configuration group."""
    return build({k: v for k, v in config[group].items() if k != "name"}, group, trust, **context)


def build_rule(config: Config, chosen: Settings, problem: Problem) -> Rule:
    """Build the learning rule with its network, losses and optimisers."""
    network = build_network(config, chosen, problem)
    return option(
        config,
        "rule",
        chosen.trust,
        network=network,
        make_loss=partial(make_loss, config, problem, chosen.trust),
        make_optimizer=partial(make_optimizer, config, chosen.trust),
        update=chosen.trainer.update,
    )


def build_network(config: Config, chosen: Settings, problem: Problem) -> Network:
    """Build the network that the configuration describes for images of this problem."""
    surrogate = option(config, "surrogate", chosen.trust)

    def make_neuron() -> Neuron:
        return option(config, "neuron", chosen.trust, surrogate=surrogate)

    layout = chosen.architecture
    encoding = option(config, "encoding", chosen.trust)
    return Network(
        parse(layout.spec, problem.shape, problem.classes, layout.width, encoding.coded_shape(problem.shape)),
        problem.classes,
        chosen.trainer.steps,
        encoding,
        make_neuron,
        torch.tensor(problem.mean),
        torch.tensor(problem.std),
        layout.norm,
        layout.dropout,
        getattr(torch, chosen.trainer.precision),
    )


def make_loss(config: Config, problem: Problem, trust: list[str], layer: Layer) -> HybridLoss:
    """Build the loss of one layer: the terms that have a weight, and what weighs them."""
    chosen = loss_options(config["loss"])
    context = {"layer": layer, "classes": problem.classes, "kernel": option(config, "kernel", trust)}
    terms = {name: build(node, f"loss.terms.{name}", trust, **context) for name, node in chosen.terms.items()}
    if chosen.weighting is None:
        return HybridLoss(terms, chosen.weights)
    if signed := next((name for name, term in terms.items() if term.signed), None):
        raise UserError(
            f"loss.weighting: {chosen.name!r} compares magnitudes, and {signed!r} can be negative; "
            f"use loss.weighting=fixed."
        )
    where = f"loss.weightings.{chosen.name}"
    return HybridLoss(terms, chosen.weights, build(chosen.weighting, where, trust, weights=chosen.weights))


def make_optimizer(config: Config, trust: list[str], parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build one optimiser over `parameters`. Raises UserError for what its own checks refuse."""
    try:
        built: Optimizer = option(config, "optimizer", trust, params=list(parameters))
    except ValueError as error:
        raise UserError(f"optimizer: {error}.") from error
    if isinstance(built, (torch.optim.LBFGS, torch.optim.SparseAdam)):
        raise UserError(
            f"optimizer: {type(built).__name__} takes more than one dense gradient a step; use optimizer=adam, adamw, "
            f"sgd or another of torch.optim."
        )
    return built


def pick_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA where there is one. Raises UserError for one that does not
    exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device: {name!r} is not a device; use auto, cpu, cuda or cuda:0.") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index is not None):
        raise UserError(f"device: {name!r} is not supported; use auto, cpu, cuda or cuda:0.")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UserError(f"device: {name!r} asked for, but there are {count} CUDA devices; use device=cpu or auto.")
    return device


def load(run_dir: str | Path, device: str = "cpu") -> Network:
    """Return the trained network of a run folder, ready to classify images [B, C, H, W] with pixels in [0, 1].

    Under eqprop and ide feedback takes part in that, which the network alone has none of: use `load_rule` and its
    `evaluate`. Raises UserError when the folder holds no run, or a damaged one.
    """
    return load_rule(run_dir, device)[0].network


def load_rule(run_dir: str | Path, device: str = "cpu") -> tuple[Rule, Config]:
    """Return the trained rule of a run folder, in evaluation mode, and its configuration."""
    where = pick_device(device)
    config, chosen, state = _stored(Path(run_dir), where)
    try:
        rule = build_rule(config, chosen, Problem(**state["problem"]))
        rule.load_state_dict(state["rule"]["module"])
    except (LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run_dir}: configuration or weights are those of another version of snnhll; use that one, or train the "
            f"run again with force=true ({reason})."
        ) from error
    return rule.to(where).eval(), config


def load_problem(run_dir: str | Path) -> Problem:
    """Return the problem that the network of a run folder was made for."""
    return Problem(**_stored(Path(run_dir), torch.device("cpu"))[2]["problem"])


def _stored(path: Path, where: torch.device) -> tuple[Config, Settings, dict[str, Any]]:
    """Return configuration and checkpoint of a run folder. Raises UserError when it holds none, or a damaged one."""
    from omegaconf import OmegaConf

    if not (path / "config.yaml").exists() or not (path / "checkpoint.pt").exists():
        raise UserError(f"{path}: no run here with a checkpoint; expected config.yaml and checkpoint.pt in it.")
    try:
        config: Config = OmegaConf.to_container(OmegaConf.load(path / "config.yaml"))  # type: ignore[assignment]
        chosen = settings(config)
    except Exception as error:
        raise UserError(f"{path / 'config.yaml'} is damaged; train the run again with force=true.") from error
    state = checkpoint.load(path / "checkpoint.pt", identity(config), where)
    assert state is not None
    return config, chosen, state
