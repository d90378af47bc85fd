"""Evaluation of trained runs anew, for instance under noise: from the weights in their folders, without training."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from snnhll import threads
from snnhll.assemble import Problem, load_problem, load_rule, option
from snnhll.config import Config, Settings, compose, settings
from snnhll.data import Data, open_data
from snnhll.data.noise.noise import Noise
from snnhll.data.pipeline import Batch
from snnhll.errors import UserError, nearest
from snnhll.memory import sufficing
from snnhll.metrics import evaluate
from snnhll.reports.noise_pictures import Example
from snnhll.rules.rule import Rule


@dataclass(frozen=True)
class Trial:
    """A trained network on the test images of `data`, under one list of overrides."""

    overrides: list[str]
    rule: Rule
    data: Data
    noise: Noise | None
    settings: Settings

    def batches(self) -> Iterator[Batch]:
        """Yield the test images, disturbed, with their labels."""
        chosen = self.settings
        size = chosen.trainer.eval_batch_size
        return self.data.eval_batches("test", size, self.noise, chosen.seed, self.rule.classifier)


@sufficing()
def evaluations(run: Path, choices: list[list[str]], own: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return what `run` reaches on its test images under each list of overrides.

    own: overrides by which options of the user's own are found and trusted.
    """
    rows: list[dict[str, Any]] = []
    for trial in trials(run, choices, own):
        found = evaluate(trial.rule, trial.batches(), len(trial.data.classes))
        rows.append(
            {
                "run_dir": str(run),
                "overrides": trial.overrides,
                "test_accuracy": found.accuracy,
                "layer_test_accuracy": found.layer_accuracy,
                "firing_rates": found.rates,
            }
        )
    return rows


@sufficing()
@torch.no_grad()
def examples(run: Path, choices: list[list[str]], own: Sequence[str] = (), count: int = 3) -> list[Example]:
    """Return the first test image of each of `count` classes under each list of overrides, and what `run` says."""
    found = []
    for trial in trials(run, choices, own):
        images, labels = next(trial.batches())
        places = [int((labels == c).nonzero()[0]) for c in labels.unique()[:count]]
        said = trial.rule.evaluate(images[places]).inference.logits.argmax(1)
        names = trial.data.classes
        true, predicted = ([names[i] for i in chosen.tolist()] for chosen in (labels[places], said))
        found.append(Example(trial.overrides, images[places].cpu(), true, predicted))
    return found


def trials(run: Path, choices: list[list[str]], own: Sequence[str] = ()) -> Iterator[Trial]:
    """Yield the network of `run` with its test images under each list of overrides."""
    opened: dict[str, Data] = {}  # the set of the last choice: most choices differ in noise alone
    for overrides in choices:
        device = next((o.partition("=")[2] for o in overrides if o.startswith("device=")), "auto")
        rule, trained = load_rule(run, device)
        config = with_overrides(trained, overrides, own)
        chosen = settings(config)
        place = rule.network.mean.device
        key = json.dumps([config["data"], chosen.seed, str(place)])
        if key not in opened:
            size = chosen.trainer.batch_size
            data = open_data(config["data"], batch_size=size, seed=chosen.seed, device=place, trust=chosen.trust)
            _check_fit(run, data)
            opened = {key: data}
        noise: Noise = option(config, "noise", chosen.trust)
        if noise.when == "train" and any(o.startswith("noise") for o in overrides):
            raise UserError("noise.when: 'train' leaves the test images as they are; add noise.when=test.")
        asked = any(o.startswith("threads=") for o in overrides)  # else as this machine has them
        with threads.using(chosen.threads if asked else None):
            yield Trial(overrides, rule, opened[key], noise if noise.acts_in("test") else None, chosen)


def with_overrides(trained: Config, overrides: list[str], own: Sequence[str] = ()) -> Config:
    """Return a run's own configuration with some of its values replaced; `noise=NAME` brings that option's defaults.

    own: overrides by which options of the user's own are found and trusted.
    """
    config = copy.deepcopy(trained)
    for override in sorted(overrides, key=lambda o: not o.startswith("noise=")):
        if override.startswith("noise="):
            chosen = compose([override, *own])
            config["noise"] = chosen["noise"]
            config["trust"] = [*config["trust"], *chosen["trust"]]
            continue
        path = override.partition("=")[0]
        *parents, leaf = path.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent, {}) if isinstance(node, dict) else {}
        if not isinstance(node, dict) or leaf not in node:
            raise UserError(f"{path}: no such key.{nearest(leaf, node if isinstance(node, dict) else ())}")
        node[leaf] = _value(override, path)
        if path == "data.root" and "folder" in node:  # where a set of the user's own lies
            node["folder"] = node["root"]
    return config


def _check_fit(run: Path, data: Data) -> None:
    """Raise UserError for a set of other images, or of other classes, than the network of `run` was made for."""
    own, other = load_problem(run), Problem.of(data)
    if (own.shape, own.classes) != (other.shape, other.classes):
        sizes = ["x".join(map(str, p.shape)) + f" in {p.classes} classes" for p in (own, other)]
        raise UserError(f"data: images of {sizes[1]}, but {run} was trained on {sizes[0]}; choose such a set.")


def _value(override: str, path: str) -> Any:
    try:
        return OmegaConf.select(OmegaConf.from_dotlist([override]), path)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{override}: the value cannot be read; quote special characters, 'KEY=\"a,b\"'.") from error
