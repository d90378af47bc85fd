"""One measurement in this process: reads one request as JSON from its argument, prints one line of JSON.

Started as `python -m snnhll.bench.worker REQUEST` by rounds.py. Peak memory is the growth of the process's resident
memory over the built model, in the steps that follow: gradients, optimiser state, and whatever the step stores.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnhll import memory
from snnhll.bench import floor
from snnhll.bench.contest import OURS, Measurement
from snnhll.bench.works import CLASSES, Work

WARM_UP, LEAST_STEPS, MOST_STEPS, SECONDS = 2, 3, 200, 1.0
CPU = torch.device("cpu")
Step = Callable[[Tensor, Tensor], object]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks for: its kind is measure, costs, pipeline, floor or agreement."""
    torch.set_num_threads(request["threads"])
    if request["kind"] == "measure":
        return measure(_measurement(request["measurement"]))
    if request["kind"] in ("costs", "pipeline"):
        return _of_stages(request)
    torch.manual_seed(0)
    if request["kind"] == "floor":
        return asdict(floor.measure(request["precision"]))
    from snnhll.bench.agreement import compare

    found = compare(_work(request["work"]), request["framework"], request["T"])
    return {"agreements": [asdict(agreement) for agreement in found]}


def _of_stages(request: dict[str, Any]) -> dict[str, Any]:
    from snnhll.bench import ours, pipeline

    m = _measurement(request["measurement"])
    ours.tune_allocator(m.setting)
    if request["kind"] == "costs":
        return pipeline.measure_costs(m, request["stages"])
    return {"samples_per_second": pipeline.measure_speed(m, [range(*ends) for ends in request["parts"]])}


def measure(m: Measurement) -> dict[str, Any]:
    """Return samples a second (median step), peak memory in bytes and what its growth is counted from."""
    if m.framework == OURS:
        from snnhll.bench import ours

        ours.tune_allocator(m.setting)
    torch.manual_seed(0)
    images, labels = torch.rand(m.batch, *m.work.shape), torch.randint(0, CLASSES, (m.batch,))
    # a narrow network first, so that loading and compiling code is neither timed nor counted as memory
    trainer(m.work.sketch(), m)(images[:2], labels[:2])
    step = trainer(m.work, m)
    memory.start_peak(CPU)
    base, baseline = memory.peak(CPU), _baseline()
    for _ in range(WARM_UP):
        step(images, labels)
    times = _times(lambda: step(images, labels), m.steps)
    return {
        "samples_per_second": m.batch / statistics.median(times),
        "peak_memory_bytes": memory.peak(CPU) - base,
        "baseline": baseline,
        "steps": len(times),
    }


def trainer(work: Work, m: Measurement) -> Step:
    """Return the training step of the framework and setting that `m` names, on `work`."""
    if m.framework == OURS:
        from snnhll.bench import ours

        return ours.trainer(work, m.setting, m.T)
    from snnhll.bench import peer

    network = import_module(f"snnhll.bench.{m.framework}").Network(work, m.T)
    return peer.trainer(network, m.setting)


def _times(step: Callable[[], object], steps: int | None) -> list[float]:
    times: list[float] = []
    while len(times) < (steps or MOST_STEPS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
        if steps is None and len(times) >= LEAST_STEPS and sum(times) > SECONDS:
            break
    return times


def _baseline() -> str:
    """Say what the growth is counted from: where earlier peaks cannot be forgotten, it may be understated."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return "earlier peak"
    resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return "built model" if memory.peak(CPU) - resident < 2**20 else "earlier peak"


def _measurement(fields: dict[str, Any]) -> Measurement:
    return Measurement(**fields | {"work": _work(fields["work"])})


def _work(fields: dict[str, Any]) -> Work:
    return Work(**fields | {"shape": tuple(fields["shape"])})


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))), flush=True)
