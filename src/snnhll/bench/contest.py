"""Who is compared, in which settings, and what one measurement is asked for. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from snnhll.bench.works import Work

OURS = "snnhll"
PEERS = ("spikingjelly", "snntorch", "norse")
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
LEARNERS = (
    "pred_sim rate",
    "pred_sim accumulate",
    "pred_sim final",
    "pred_sim online",
    "pred rate",
    "hsic rate",
    "bptt",
)
PEER_SETTINGS = {"fp32": "default", "bf16": "bf16 channels_last"}
SHORT_LIST = (  # measured when nothing is chosen, so that a comparison of two networks takes minutes
    "pred_sim rate bf16",
    "pred_sim rate fp32",
    "pred_sim accumulate bf16",
    "pred_sim final bf16",
    "pred_sim online bf16",
    "bptt fp32",
    *PEER_SETTINGS.values(),
)
GROWTH_LIST = ("pred_sim rate bf16", "pred_sim online bf16", PEER_SETTINGS["fp32"])


@dataclass(frozen=True)
class Measurement:
    """One measurement: `steps` timed steps, or, without a number, as many as fill a second (worker.py)."""

    work: Work
    framework: str
    setting: str
    T: int
    batch: int
    steps: int | None = None

    def request(self) -> dict[str, Any]:
        """Return what a worker is asked for."""
        return {"kind": "measure", "measurement": asdict(self)}


def our_settings(precisions: Sequence[str] = tuple(PRECISIONS)) -> list[str]:
    """Return every setting of ours: a learner and a precision."""
    return [f"{learner} {precision}" for learner in LEARNERS for precision in precisions]


def peer_settings(precisions: Sequence[str] = tuple(PRECISIONS)) -> list[str]:
    """Return the settings of a peer; "default" is float32 in the memory format torch starts with."""
    return [PEER_SETTINGS[precision] for precision in precisions]


def contestants(peers: Sequence[str], wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Return (framework, setting) of everyone who takes part with a wanted setting, ours first."""
    everyone = [(OURS, setting) for setting in our_settings()]
    everyone += [(peer, setting) for peer in peers for setting in peer_settings()]
    return [(framework, setting) for framework, setting in everyone if setting in wanted]


def growth(m: Measurement) -> list[Measurement]:
    """Return m, and m with 2 and 4 times the time steps, a quarter of the batch, twice the width, twice the depth."""
    return [
        m,
        replace(m, T=2 * m.T),
        replace(m, T=4 * m.T),
        replace(m, batch=max(2, m.batch // 4)),
        replace(m, work=m.work.wider(2)),
        replace(m, work=m.work.deeper(2)),
    ]
