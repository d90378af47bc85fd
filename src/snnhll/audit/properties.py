"""The properties of table 4-6, measured from what disturbances change (snnhll/audit/experiment.py).

local                   a layer's update is the same whatever a layer that is not its neighbour does: another
                        activity, other weights, another loss; everything between them held as it was
no weight symmetry      it is the same whatever the weights of later layers, with all activities held
no update locking       it is the same whatever the later layers compute, so it need not wait for them
asynchronous, parallel  every layer, on its own with what it receives, comes to the update it has in the whole: the
                        others are scrambled, before it and after it
"""

from __future__ import annotations

from dataclasses import dataclass

from snnhll.audit.experiment import Bench, Disturbance

Reach = list[list[bool]]
KINDS = ("activity", "weights", "losses")


@dataclass(frozen=True)
class Properties:
    """What was measured of a rule; None where no block learns. Layers are numbered from 1; the readout is the last.

    reach: for each kind of disturbance, the pairs (disturbed layer, layer whose update changed) that are no neighbours.
    waits_for: for every block, the later layers whose results its update needs. symmetric: pairs (later layer whose
    weights, block whose update). alone: layers whose update is the same when all others are scrambled. learns: layers
    that the step changed, and changed otherwise when some activity was disturbed; of others nothing is shown.
    ran_before_update: for every block, how many later layers had run when it first changed.
    """

    local: bool | None
    no_weight_symmetry: bool | None
    no_update_locking: bool | None
    asynchronous_parallel: bool | None
    reach: dict[str, list[tuple[int, int]]]
    waits_for: dict[int, list[int]]
    symmetric: list[tuple[int, int]]
    alone: list[int]
    learns: list[int]
    ran_before_update: dict[int, int | None]


def measure(bench: Bench) -> Properties:
    """Disturb every layer in every way and see which updates change."""
    everyone, blocks = range(bench.layers), range(bench.layers - 1)
    changes = {kind: [_changed_by(bench, kind, k) for k in everyone] for kind in KINDS}
    reach = {
        kind: [(k + 1, i + 1) for k in everyone for i in blocks if abs(k - i) > 1 and changes[kind][k][i]]
        for kind in KINDS
    }
    waits_for = {i + 1: [k + 1 for k in everyone if k > i and changes["activity"][k][i]] for i in blocks}
    symmetric = [(k + 1, i + 1) for k in everyone for i in blocks if k > i and changes["weights"][k][i]]
    alone = [i + 1 for i in everyone if not _changed_alone(bench, i)]
    learns = [i + 1 for i in everyone if _is_learning(bench, i) and any(changes["activity"][k][i] for k in everyone)]
    shown = any(i + 1 in learns for i in blocks)
    return Properties(
        local=not any(reach.values()) if shown else None,
        no_weight_symmetry=not symmetric if shown else None,
        no_update_locking=not any(waits_for.values()) if shown else None,
        asynchronous_parallel=len(alone) == bench.layers if shown else None,
        reach=reach,
        waits_for=waits_for,
        symmetric=symmetric,
        alone=alone,
        learns=learns,
        ran_before_update={i + 1: _ran_before_update(bench, i) for i in blocks},
    )


def _is_learning(bench: Bench, i: int) -> bool:
    return any(bool(part.any()) for part in bench.plain.updates[i])


def _changed_by(bench: Bench, kind: str, k: int) -> list[bool]:
    """Return which updates change when layer k is disturbed and every other layer's activity is held."""
    held = frozenset(range(bench.layers)) - ({k} if kind == "activity" else set())
    return bench.changed(Disturbance(held=held, **{kind: frozenset({k})}))


def _changed_alone(bench: Bench, i: int) -> bool:
    """Return whether layer i learns otherwise when it has nothing but what the layer below sends, as it was."""
    others = frozenset(range(bench.layers)) - {i}
    below = frozenset({i - 1} & others)
    scrambled = Disturbance(held=below, activity=others - below, weights=others, losses=others)
    return bench.changed(scrambled)[i]


def _ran_before_update(bench: Bench, i: int) -> int | None:
    """Return how many later layers had run in an undisturbed step when layer i first changed; None if it never did."""
    events = bench.plain.events
    if ("changed", i) not in events:
        return None
    earlier = events[: events.index(("changed", i))]
    return len({layer for event, layer in earlier if event == "ran" and layer > i})
