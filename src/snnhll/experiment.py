"""One run: configuration to objects, objects to the loop, the loop to result.json; resume, status and failure."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch

from snnhll import memory, threads
from snnhll.allocator import release, tune
from snnhll.assemble import Parts, assemble
from snnhll.check import check_read
from snnhll.config import Config, Settings, as_yaml, compose, identity, settings
from snnhll.errors import UserError
from snnhll.metrics import Evaluation, energy, evaluate, operations
from snnhll.ops import which
from snnhll.parallel import together
from snnhll.results import Result, RunFolder, finished, run_path, write_atomic
from snnhll.rules.rule import Rule
from snnhll.run_state import RunState
from snnhll.tracking.tracker import Tracker, Trackers
from snnhll.training import Progress, train

PACKAGES = ("torch", "torchvision", "hydra-core", "numpy", "numba", "triton")


def train_from(overrides: Sequence[str] = (), display: Tracker | None = None) -> Result:
    """Compose a configuration from overrides, as on the command line, and run it; `snnhll.train`.

    display: hears of the progress; silent by default. Raises UserError for a user's mistake.
    """
    if isinstance(overrides, str):
        raise UserError(f"{overrides!r}: expected a list of overrides, as in [{overrides!r}].")
    return run(compose(overrides), list(overrides), display or Tracker())


def run(config: Config, overrides: list[str], display: Tracker, keep_failure: bool = False) -> Result:
    """Train, evaluate and write one run, or return its result when it has finished before.

    keep_failure: this is a job of a sweep: a failure before training starts is recorded in the run's folder too, and
    overrides that the rule does not read are let pass. Otherwise a mistake leaves nothing behind. Raises UserError for
    a user's mistake, anything else for a defect.
    """
    path = run_path(config)
    if done := finished(config):
        return done
    if not keep_failure:
        check_read(config, overrides)
    result = _blank(config, path, overrides)
    if together.followed(config):
        return result  # the process that leads knows more
    with ExitStack() as stack:
        if keep_failure:
            stack.enter_context(RunFolder.create(path).recording(result))
        chosen = settings(config)
        tune(chosen.trainer.update)
        stack.enter_context(threads.using(together.threads(chosen)))
        result.device = _device_name(chosen.device)
        with memory.sufficing():
            parts = assemble(config, chosen)
        together.check(parts, chosen)
        if not keep_failure:
            stack.enter_context(RunFolder.create(path).recording(result))
        if done := finished(config):  # by another process, between the first look and the lock
            return done
        folder = RunFolder(path)
        _start(folder, config, result, chosen.force)
        _run(parts, config, chosen, folder, result, Trackers(display, parts.tracker))
    return result


def _start(folder: RunFolder, config: Config, result: Result, force: bool) -> None:
    if force:
        for stale in ("checkpoint.pt", "best.pt", "metrics.jsonl", "similarities.pt"):
            (folder.path / stale).unlink(missing_ok=True)
    (folder.path / "error.txt").unlink(missing_ok=True)
    write_atomic(folder.path / "config.yaml", as_yaml(config))
    folder.write_result(result)


@memory.sufficing()
def _run(parts: Parts, config: Config, chosen: Settings, folder: RunFolder, result: Result, tracker: Tracker) -> None:
    data, rule = parts.data, parts.rule
    release()  # what earlier runs of this process have left is none of this one's
    memory.start_peak(data.device)
    state = RunState(
        folder, result.config_hash, data.device, 60 * chosen.trainer.checkpoint_minutes, asdict(parts.problem)
    )
    tracker.start(config, folder.path)
    try:
        with together.leading(parts, config, chosen) as learner:
            progress = train(learner, data, parts.schedule, chosen.trainer, chosen.seed, state, tracker)
        ended = time.perf_counter()
        test = _on_test(parts, chosen)
        result.peak_memory_bytes = memory.peak(data.device)
        _describe(result, parts, test, progress, folder)
        pictures = []
        if find_spec("matplotlib"):  # a machine that only trains may be without it
            from snnhll.reports.run_pictures import draw_run  # loads matplotlib, which nothing before here needs

            images, _ = next(iter(data.eval_batches("test", 16)))
            similarities = state.similarities()
            pictures = draw_run(folder, test, rule.network, images, data.classes, similarities, config["loss"])
        if state.load_best(rule):
            result.test_accuracy_best_val = _on_test(parts, chosen).accuracy
        result.pictures = [picture.name for picture in pictures]
        result.wall_seconds = progress.wall + time.perf_counter() - ended
        result.status = "finished"
        folder.write_result(result)
    except BaseException:
        result.status = "failed"
        tracker.finish(result, [])
        raise
    tracker.finish(result, pictures)


def _on_test(parts: Parts, chosen: Settings) -> Evaluation:
    """Evaluate on the test images, disturbed by noise where the configuration says so."""
    noise = parts.noise if parts.noise.acts_in("test") else None
    rule, size = parts.rule, chosen.trainer.eval_batch_size
    batches = parts.data.eval_batches("test", size, noise, chosen.seed, rule.classifier)
    return evaluate(rule, batches, parts.problem.classes)


def _describe(result: Result, parts: Parts, test: Evaluation, progress: Progress, folder: RunFolder) -> None:
    """Fill in what the run reached and what it cost."""
    network = parts.rule.network
    last = folder.metrics()[-1]
    result.test_accuracy = test.accuracy
    result.val_accuracy, result.train_accuracy = last["val_accuracy"], last["train_accuracy"]
    result.layer_test_accuracy = test.layer_accuracy
    result.firing_rates, result.silent_share, result.saturated_share = test.rates, test.silent, test.saturated
    result.samples_per_second, result.loading_share = progress.samples_per_second, progress.loading_share
    result.parameters = sum(p.numel() for p in network.parameters())
    accumulates, multiplies = operations(network, test.inputs, parts.rule.ways_back)
    result.synaptic_operations_per_image, result.multiply_accumulates_per_image = accumulates, multiplies
    result.energy_nj_per_image = energy(accumulates, multiplies)
    result.data_variant = parts.data.variant
    result.backend = _path(parts.rule, parts.data.device)


def _path(rule: Rule, device: torch.device) -> str:
    """Return the compute path of the network's layers: a compiled one, or "reference: " and the reason."""
    network = rule.network
    if rule.ways_back:
        return "reference: feedback takes part in every time step"
    if block := next((b for b in network.blocks if b.neuron.compiled is None), None):
        return f"reference: {type(block.neuron).__name__} neurons with these settings have no compiled form"
    if any(block.compiled is None for block in network.blocks):
        return "reference: architecture.norm=bntt has no compiled form"
    return which(torch.zeros(1, 1, 1, device=device, dtype=network.precision), network.blocks[0].neuron.surrogate)


def _blank(config: Config, path: Path, overrides: list[str]) -> Result:
    return Result(
        status="running",
        config_hash=identity(config),
        overrides=overrides,
        data=config["data"]["name"],
        architecture=config["architecture"]["name"],
        rule=config["rule"]["name"],
        loss=config["loss"]["name"],
        seed=config["seed"],
        epochs=config["trainer"].get("epochs"),
        run_dir=str(path),
        versions=_versions(),
        commit=_commit(),
    )


def _device_name(name: str) -> str:
    if torch.cuda.is_available() and name != "cpu":
        return torch.cuda.get_device_name()
    count = torch.get_num_threads()
    return f"{_processor()} ({torch.backends.cpu.get_cpu_capability()}), {count} thread{'s' * (count > 1)}"


def _processor() -> str:
    """Model of the CPU: as Linux calls it, elsewhere as Python does."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "CPU"


def _versions() -> dict[str, str]:
    from snnhll.version import __version__

    found = {"snnhll": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _commit() -> str | None:
    """Return the commit of the source checkout, with `+` when it has changes; None outside one."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
