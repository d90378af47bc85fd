"""What a configuration says of the loss: its terms, their weights, and how the weights are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snnhll.build import convert
from snnhll.errors import UserError, nearest

FIXED = "fixed"


@dataclass(frozen=True)
class LossOptions:
    """The chosen part of `loss`. terms: nodes by name; weights: of each; weighting: its node, None for fixed ones."""

    terms: dict[str, Any]
    weights: dict[str, float]
    name: str
    weighting: dict[str, Any] | None


def loss_options(node: Mapping[str, Any]) -> LossOptions:
    """Return what `loss` chooses: terms of weight 0 are left out, and a single term is weighed against nothing.

    Raises UserError for a term or a weighting that does not exist, and for weights that cannot be used.
    """
    known = convert(node["terms"], dict[str, Any], "loss.terms")
    weights = {k: w for k, w in convert(node["weights"], dict[str, float], "loss.weights").items() if w != 0}
    if not weights:
        raise UserError("loss.weights: every weight is 0, so no layer would learn; give at least one term a weight.")
    if missing := next((name for name in weights if name not in known), None):
        raise UserError(f"loss.weights.{missing}: no such term; known: {', '.join(known)}.")
    terms = {name: known[name] for name in weights}
    weightings = convert(node.get("weightings", {}), dict[str, Any], "loss.weightings")
    name = node.get("weighting", FIXED)  # a loss of the user's own need not speak of it
    if name != FIXED and name not in weightings:
        raise UserError(f"loss.weighting: {name!r} is not an option.{nearest(str(name), [FIXED, *weightings])}")
    if name == FIXED or len(weights) == 1:
        return LossOptions(terms, weights, FIXED, None)
    if negative := next((k for k, w in weights.items() if w < 0), None):
        raise UserError(
            f"loss.weights.{negative}: {weights[negative]} is negative, which only loss.weighting=fixed can have."
        )
    return LossOptions(terms, weights, name, weightings[name])
