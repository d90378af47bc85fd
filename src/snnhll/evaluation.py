"""Evaluation of trained runs anew, for instance under noise: from the weights in their folders, without training."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from snnhll.assemble import load_rule, option
from snnhll.config import Config, compose, settings
from snnhll.data import Data, open_data
from snnhll.errors import UserError, nearest
from snnhll.metrics import evaluate


def evaluations(run: Path, choices: list[list[str]]) -> list[dict[str, Any]]:
    """Return what `run` reaches on its test images under each list of overrides."""
    rows: list[dict[str, Any]] = []
    opened: dict[str, Data] = {}  # the set of the last choice: most choices differ in noise alone
    for overrides in choices:
        device = next((o.partition("=")[2] for o in overrides if o.startswith("device=")), "auto")
        rule, trained = load_rule(run, device)
        config = with_overrides(trained, overrides)
        chosen = settings(config)
        place = rule.network.mean.device
        key = json.dumps([config["data"], chosen.seed, str(place)])
        if key not in opened:
            size = chosen.trainer.batch_size
            opened = {key: open_data(config["data"], batch_size=size, seed=chosen.seed, device=place)}
        data = opened[key]
        noise = option(config, "noise", chosen.trust)
        disturbed = noise if noise.acts_in("test") else None
        batches = data.eval_batches("test", chosen.trainer.eval_batch_size, disturbed, chosen.seed)
        found = evaluate(rule, batches, len(data.classes))
        rows.append(
            {
                "run_dir": str(run),
                "overrides": overrides,
                "test_accuracy": found.accuracy,
                "layer_test_accuracy": found.layer_accuracy,
                "firing_rates": found.rates,
            }
        )
    return rows


def with_overrides(trained: Config, overrides: list[str]) -> Config:
    """Return a run's own configuration with some of its values replaced; `noise=NAME` brings that option's defaults."""
    config = copy.deepcopy(trained)
    for override in sorted(overrides, key=lambda o: not o.startswith("noise=")):
        if override.startswith("noise="):
            config["noise"] = compose([override])["noise"]
            continue
        path = override.partition("=")[0]
        *parents, leaf = path.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent, {}) if isinstance(node, dict) else {}
        if not isinstance(node, dict) or leaf not in node:
            raise UserError(f"{path}: no such key.{nearest(leaf, node if isinstance(node, dict) else ())}")
        node[leaf] = OmegaConf.select(OmegaConf.from_dotlist([override]), path)
    return config
