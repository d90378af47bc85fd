"""Checks of a composed configuration before anything of it is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from snnhll.build import check, locate
from snnhll.config import Config, settings
from snnhll.data import SHARED_KEYS, pipeline_options
from snnhll.data.noise.attack import Attack
from snnhll.errors import UserError
from snnhll.losses.options import loss_options
from snnhll.rules.rule import Rule

# What only some rules read, and the argument of a rule that does.
READ_AS = {"loss": "make_loss", "kernel": "make_loss", "trainer.update": "update"}


def check_config(config: Config) -> None:
    """Check the settings of a configuration and the arguments of everything it would build."""
    trust = settings(config).trust
    pipeline_options(config["data"])
    loss_options(config["loss"])
    for path, node in _targets(config, ""):
        others = SHARED_KEYS if path == "data" else ("name",)  # keys that are not arguments of the target
        check(locate(node, path, trust), {k: v for k, v in node.items() if k not in ("_target_", *others)}, path)


def check_read(config: Config, overrides: Iterable[str]) -> None:
    """Raise UserError where the user chose a loss, a kernel, an update mode, a surrogate derivative or a setting of the
    rule that the rule does not read, a kernel that no term of the loss compares by, or settings of a term or a
    weighting that the loss leaves out.

    Presets and sweeps may carry them: what rule=bptt does on the network of a preset is a question worth asking.
    """
    rule = config["rule"]
    trust = settings(config).trust
    loss = loss_options(config["loss"])
    by_rule = _accepted(rule, "rule", trust)
    learner = _class(rule, "rule", trust, Rule)
    unread = learner.unread(rule) if learner else set()
    unfollowed = learner and not learner.gradient and not _class(config["noise"], "noise", trust, Attack)
    by_terms = {name for key, node in loss.terms.items() for name in _accepted(node, f"loss.terms.{key}", trust)}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        parts = key.split(".")
        for name, argument in READ_AS.items():
            if _within(key, name) and argument not in by_rule:
                raise UserError(
                    f"{override}: rule={rule['name']} has its own way to learn and does not read {name}; leave it "
                    f"away, or use rule=local."
                )
        if _within(key, "surrogate") and unfollowed:
            raise UserError(f"{override}: rule={rule['name']} follows no surrogate derivative; leave it away.")
        if parts[0] == "rule" and unread.intersection(parts[1:2]):
            raise UserError(f"{override}: rule={rule['name']} does not read it with its other settings; leave it away.")
        if _within(key, "kernel") and "kernel" not in by_terms:
            raise UserError(f"{override}: no term of loss={config['loss']['name']} uses a kernel; use loss=hsic.")
        if parts[:2] == ["loss", "terms"] and len(parts) > 2 and parts[2] not in loss.terms:
            raise UserError(f"{override}: this term has no weight; give it one, loss.weights.{parts[2]}=0.1.")
        if parts[:2] == ["loss", "weightings"] and len(parts) > 2 and parts[2] != loss.name:
            raise UserError(f"{override}: not the weighting in use; choose it, loss.weighting={parts[2]}.")


def _accepted(node: dict[str, Any], where: str, trust: list[str]) -> Iterable[str]:
    """Return the names of the arguments of what a node builds."""
    return inspect.signature(locate(node, where, trust)).parameters


def _class(node: dict[str, Any], where: str, trust: list[str], kind: type[Any]) -> Any:
    """Return the class that a node builds, where it is one of that kind; None for others and for functions."""
    target = locate(node, where, trust)
    return target if isinstance(target, type) and issubclass(target, kind) else None


def _within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _targets(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every node below `node` that names a target, with its dotted path."""
    if not isinstance(node, dict):
        return []
    found = [(path, node)] if "_target_" in node else []
    for key, value in node.items():
        found += _targets(value, f"{path}.{key}" if path else str(key))
    return found
