"""The hot kernels and their one dispatch point. `reference` defines them; `cpu` and `cuda` are the same, compiled."""

from snnhll.ops.dispatch import lif_pass, lif_pooled, lif_sequence, lif_step, moments, rate_gradient, which
from snnhll.ops.reference import average_pool, pooled_apart
from snnhll.ops.signature import BatchNormalisation, LIFSettings, Pass, check_steps

__all__ = [
    "BatchNormalisation",
    "LIFSettings",
    "Pass",
    "average_pool",
    "check_steps",
    "lif_pass",
    "lif_pooled",
    "lif_sequence",
    "lif_step",
    "moments",
    "pooled_apart",
    "rate_gradient",
    "which",
]
