"""What a CUDA GPU makes of this package, in under ten minutes: `bench/gpu/run`.

First every kernel is checked against the reference on the device. Then training steps of VGG8 on images of CIFAR-10's
shape are timed, T = 10, beside SpikingJelly where it is installed, and an epoch over 50,000 images that are varied on
the device. Every finding is printed as a line of JSON the moment it is there, so that an interruption loses nothing;
a table comes last. Needs torch, and nothing that composes configurations: bench/gpu/configs.json has them.

Without a GPU, `--device cpu --quick` goes the same way with a network a sixteenth as wide and T = 2, to try the script.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module, metadata
from itertools import cycle, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnhll.bench import floor, ours, peer
from snnhll.bench.contest import OURS, PEER_SETTINGS
from snnhll.bench.gpu_table import Line, table
from snnhll.bench.works import CLASSES, WORKS, Work
from snnhll.data import pipeline_options
from snnhll.data.imageset import ImageSet
from snnhll.data.pipeline import Data
from snnhll.errors import UserError
from snnhll.frozen import freeze, thaw
from snnhll.graphs import RecordedStep
from snnhll.ops import which
from snnhll.training import seed_step

T, BATCHES, IMAGES = 10, (64, 256), 50_000
SETTINGS = ("pred_sim rate bf16", "pred_sim final bf16", "bptt bf16")
EPOCH_SETTING, EPOCH_BATCH = SETTINGS[0], 256
WARM_UP, ROUNDS, SECONDS = 6, 3, 2.0  # of each measurement; the warm-up covers compiling and recording
RECORDED = ", recorded"  # as a CUDA graph
HERE_IS_NO_GPU = "No GPU: the script was tried, nothing of a GPU was measured."

Step = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Plan:
    """What is measured, on which device, and until when (`time.monotonic()`)."""

    device: str
    configs: Path
    until: float
    work: Work = WORKS["vgg8"]
    steps: int = T
    batches: tuple[int, ...] = BATCHES
    images: int = IMAGES
    probe: floor.Probe = floor.GPU
    seconds: float = SECONDS

    def sketch(self) -> Plan:
        """Return the plan that tries the script on any machine."""
        probe = floor.Probe(batch=2, channels=4, side=6, matrix=8)
        return replace(self, work=self.work.sketch(), steps=2, batches=(4,), images=64, probe=probe, seconds=0.0)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.monotonic()


def overrides() -> dict[str, list[str]]:
    """Return what each setting is on the command line."""
    return {setting: ours.overrides(WORKS["vgg8"], setting, T) for setting in SETTINGS}


def main(arguments: list[str], configs: Path) -> int:
    """Measure, print, and return the exit code: 1 when a kernel differed or a measurement failed."""
    chosen = parser().parse_args(arguments)
    if chosen.compose:
        freeze(configs, overrides())
        return 0
    try:
        plan = plan_of(chosen, configs)
    except UserError as error:
        print(f"bench/gpu/run: {error}", file=sys.stderr)
        return 2
    lines: list[Line] = []
    try:
        for line in measure(plan):
            lines.append(line)
            keep(line, chosen.out)
    finally:
        print(table(lines) if lines else "", flush=True)
    return 1 if any(line.get("failed") for line in lines) else 0


def keep(line: Line, out: Path | None) -> None:
    """Print a line of JSON and append it to a file, if there is to be one."""
    text = json.dumps(line)
    print(text, flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(text + "\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser("bench/gpu/run", description="Checks and times snnhll on a CUDA GPU.")
    found.add_argument("--device", default="cuda", help="cuda, cuda:1, ..., or cpu to try the script")
    found.add_argument("--quick", action="store_true", help="a sketch of everything; its times mean nothing")
    found.add_argument("--minutes", type=float, default=9.0, help="time in all; what does not fit is left out")
    found.add_argument("--out", type=Path, help="append the lines of JSON to this file too")
    found.add_argument("--compose", action="store_true", help="write configs.json anew (needs Hydra) and end")
    return found


def plan_of(chosen: argparse.Namespace, configs: Path) -> Plan:
    """Return the plan asked for. Raises UserError where there is no such device, or a CPU would take hours."""
    if chosen.device != "cpu" and not torch.cuda.is_available():
        raise UserError("no CUDA GPU was found, nothing was measured; --device cpu --quick tries the script.")
    if chosen.device == "cpu" and not chosen.quick:
        raise UserError("VGG8 takes hours on a CPU; add --quick to try the script, or use `snnhll bench`.")
    plan = Plan(chosen.device, configs, time.monotonic() + 60 * chosen.minutes)
    return plan.sketch() if chosen.quick else plan


def measure(plan: Plan) -> Iterator[Line]:
    """Yield everything that is found, most important first."""
    torch.backends.cudnn.benchmark = True  # for all alike
    yield device_line(plan)
    yield from kernel_lines(plan)
    rates = floor.measure("bfloat16", plan.device, plan.probe)
    yield {"part": "floor", "precision": "bfloat16", **asdict(rates)}
    for batch in plan.batches:
        for who, setting, make in contestants(plan):
            yield step_line(plan, who, setting, make, batch, rates)
    yield epoch_line(plan)


def device_line(plan: Plan) -> Line:
    """Return what is measured on. Says plainly when that is no GPU."""
    versions = {name: _version(name) for name in ("torch", "triton", "spikingjelly")}
    line: Line = {"part": "device", "device": plan.device, "T": plan.steps, "versions": versions}
    if plan.device == "cpu":
        return line | {"note": HERE_IS_NO_GPU}
    properties = torch.cuda.get_device_properties(plan.device)
    return line | {"name": properties.name, "memory": properties.total_memory, "cuda": torch.version.cuda}


def kernel_lines(plan: Plan) -> Iterator[Line]:
    """Yield, for each kernel, how many cases were checked against the reference and which of them differ."""
    if plan.device == "cpu":
        yield {"part": "kernels", "note": "not checked: they run on a GPU; the tests interpret them"}
        return
    cases: dict[str, int] = {}
    wrong: dict[str, list[str]] = {}
    complete = True
    half = plan.left / 2
    try:
        from snnhll.bench.kernels import findings
        from snnhll.ops import cuda

        for found in findings(cuda, torch.device(plan.device)):
            cases[found.kernel] = cases.get(found.kernel, 0) + 1
            if not found.passed:
                said = f"{found.setting}: {found.different} differ, error {found.worst:.3g}"
                wrong.setdefault(found.kernel, []).append(said)
            complete = plan.left > half
            if not complete:
                break
    except Exception as error:  # a compiler or driver that does not play along must not end the rest
        wrong["launch"] = [_said(error)]
    for kernel in sorted({*cases, *wrong}):
        yield {"part": "kernels", "kernel": kernel, "cases": cases.get(kernel, 0), "failed": wrong.get(kernel, [])}
    if not complete:
        yield {"part": "kernels", "note": "time for half of everything was up before the last case"}


def contestants(plan: Plan) -> Iterator[tuple[str, str, Callable[[], Step]]]:
    """Yield who is measured, in which setting, and what builds the training step."""
    for setting in SETTINGS:
        yield OURS, setting, partial(our_step, plan, setting, recorded=False)
        if plan.device != "cpu":
            yield OURS, setting + RECORDED, partial(our_step, plan, setting, recorded=True)
    try:
        rival = import_module("snnhll.bench.spikingjelly")
    except ImportError:
        return
    for backend, setting in product(rival.backends(), PEER_SETTINGS.values()):
        yield "spikingjelly", f"{setting}, {backend}", partial(peer_step, plan, rival, setting, backend)


def our_step(plan: Plan, setting: str, recorded: bool) -> Step:
    """Return our training step on the device."""
    config = copy.deepcopy(thaw(plan.configs)[setting])
    config["trainer"]["steps"], config["architecture"]["width"] = plan.steps, plan.work.width
    rule = ours.of_config(config, plan.work).to(plan.device).train()
    return RecordedStep(rule) if recorded else rule.step


def peer_step(plan: Plan, rival: Any, setting: str, backend: str) -> Step:
    """Return SpikingJelly's training step on the device."""
    network = rival.Network(plan.work, plan.steps)
    network.use(backend)
    return peer.trainer(network.to(plan.device), setting)


def step_line(plan: Plan, who: str, setting: str, make: Callable[[], Step], batch: int, rates: floor.Rates) -> Line:
    """Return the speed and the peak memory of one training step, or why there is none."""
    line: Line = {"part": "step", "who": who, "setting": setting, "batch": batch}
    if plan.left <= 0:
        return line | {"note": "left out, the time is up"}
    on_gpu = plan.device != "cpu"
    try:
        torch.manual_seed(0)
        if on_gpu:
            gc.collect()  # of the one before
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(plan.device)
        images = torch.rand(batch, *plan.work.shape, device=plan.device)
        labels = torch.randint(0, CLASSES, (batch,), device=plan.device)
        took = seconds_a_step(make(), images, labels, plan)
    except Exception as error:  # out of memory, or a backend that does not run here
        return line | {"failed": _said(error)}
    line |= {"samples_per_second": batch / took, "milliseconds": 1e3 * took}
    if on_gpu:
        line["peak_memory_bytes"] = torch.cuda.max_memory_allocated(plan.device)
        if who == OURS and " rate " in setting:
            line["of_floor"] = floor.seconds(floor.operations(plan.work, plan.steps, batch), rates) / took
    return line


def seconds_a_step(step: Step, images: Tensor, labels: Tensor, plan: Plan) -> float:
    """Return the median over the rounds of the mean time of a step; the device is waited for once a round."""

    def run(steps: int) -> float:
        floor.wait(plan.device)
        began = time.perf_counter()
        for _ in range(steps):
            step(images, labels)
        floor.wait(plan.device)
        return (time.perf_counter() - began) / steps

    run(WARM_UP)
    steps = max(2, int(plan.seconds / ROUNDS / run(2)))
    return statistics.median(run(steps) for _ in range(ROUNDS))


def epoch_line(plan: Plan) -> Line:
    """Return the time of an epoch over 50,000 images with random crop and mirror, all on the device.

    Where the time does not suffice, that of the steps that fit is multiplied up, and the line says so.
    """
    line: Line = {"part": "epoch", "setting": EPOCH_SETTING, "images": plan.images}
    try:
        batch = min(EPOCH_BATCH, plan.images // 4)
        config = thaw(plan.configs)[EPOCH_SETTING]
        step = our_step(plan, EPOCH_SETTING, recorded=plan.device != "cpu")
        pixels = torch.randint(0, 256, (plan.images, *plan.work.shape), dtype=torch.uint8)
        labels = torch.arange(plan.images) % CLASSES
        whole = ImageSet("random", pixels, labels, pixels[:CLASSES], labels[:CLASSES], tuple("0123456789"))
        options = pipeline_options(config["data"]) | {"validation": 0.0, "drop_last": True}
        data = Data(whole, batch_size=batch, seed=0, device=plan.device, **options)
        for _, (images, targets) in zip(range(WARM_UP), cycle(data.train_batches(0)), strict=False):
            step(images, targets)
        floor.wait(plan.device)
        began = time.perf_counter()
        done = 0
        for images, targets in data.train_batches(1):
            seed_step(0, 1, done)
            step(images, targets)
            done += 1
            if done % 50 == 0:
                floor.wait(plan.device)
                if plan.left <= 0:
                    break
        floor.wait(plan.device)
    except Exception as error:
        return line | {"failed": _said(error)}
    took = (time.perf_counter() - began) * data.steps_per_epoch / done
    backend = which(torch.zeros(1, 1, 1, device=plan.device, dtype=torch.bfloat16))
    measured = f"{done} of {data.steps_per_epoch} steps"
    return line | {"batch": batch, "seconds": took, "measured": measured, "kernels": backend}


def _said(error: Exception) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
