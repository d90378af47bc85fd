"""Running the jobs of a sweep through one of Hydra's launchers: processes of this machine, Slurm, Ray.

A launcher starts workers; what a worker does with a job is what the runner does here. Failures are read from the run
folders, so a worker that dies takes nothing with it: its run is interrupted, and the same command continues it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from snnhll.config import SEARCH, Config, conf_dir, explain, take_own
from snnhll.errors import UserError
from snnhll.results import BusyError
from snnhll.sweeps.jobs import Job, unique
from snnhll.tracking.tracker import Tracker

SLOT_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Task:
    """What a worker must know of a run. config: as it was planned, whatever has changed on the disk since.

    noises: those of all rows that share the run.
    """

    label: str
    row: str
    noises: list[list[str]]
    overrides: list[str]
    config: Config


def is_launching(override: str) -> bool:
    """Return whether an override chooses or configures a launcher: those belong to a sweep, not to its jobs."""
    return override.startswith(("launcher=", "hydra.", "hydra/")) and not override.startswith(SEARCH)


def launch(jobs: Sequence[Job], sweep: str, preset: Sequence[str]) -> None:
    """Hand `jobs` to the launcher that `preset` names (launcher=joblib hydra.launcher.n_jobs=2, say) and wait.

    Raises UserError when the launcher is not installed or cannot be started.
    """
    from hydra import version
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    version.setbase("1.3")
    GlobalHydra.instance().clear()
    jobs, tasks = unique(jobs), tasks_of(jobs)
    chosen = [o for o in preset if o.startswith("launcher=")]
    try:
        hydra = Hydra.create_main_hydra2("snnhll", create_config_search_path(str(conf_dir())))
        output = f"output_dir={jobs[0].config['output_dir']}"
        config = hydra.compose_config("train", [*preset, output], RunMode.MULTIRUN, with_log_configuration=False)
        launcher = Plugins.instance().instantiate_launcher(
            config=config,
            hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config)),
            task_function=partial(perform, sweep, tasks),
        )
        ended = launcher.launch([[*job.overrides, *chosen] for job in jobs], initial_job_idx=0)
    except UserError:
        raise
    except Exception as error:
        raise explain(error, preset) from error
    finally:
        GlobalHydra.instance().clear()
    for job in ended:
        _ = job.return_value  # raises what a worker could not handle itself


def tasks_of(jobs: Sequence[Job]) -> list[Task]:
    """Return a task for every run of `jobs`."""
    noises: dict[Path, list[list[str]]] = {}
    for job in jobs:
        noises.setdefault(job.folder.path, []).extend([job.row.noise] if job.row.noise else [])
    return [Task(job.label, job.row.name, noises[job.folder.path], job.overrides, job.config) for job in unique(jobs)]


def perform(sweep: str, tasks: Sequence[Task], node: Any) -> None:
    """Do one job in a worker. A failure stays in the run folder; a run that another worker holds is left to it."""
    from hydra.core.hydra_config import HydraConfig

    from snnhll.experiment import run
    from snnhll.sweeps.noise import measure_noise
    from snnhll.sweeps.runner import labelled

    task = tasks[HydraConfig.get().job.num]
    config = task.config | {"threads": node["threads"]}  # which the launcher may choose
    try:
        with one_gpu(config["device"]):
            result = run(labelled(config, sweep, task.row), task.overrides, Tracker(), keep_failure=True)
            for noise in task.noises:
                measure_noise(Path(result.run_dir), noise, config, take_own(task.overrides)[0])
        print(f"finished: {task.label}: test accuracy {result.test_accuracy:.2%}", flush=True)
    except BusyError:
        print(f"left to another worker: {task.label}", flush=True)
    except Exception as error:  # written down by run(); raised, it would end the whole launch
        print(f"failed: {task.label}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


@contextmanager
def one_gpu(device: str, folder: Path | None = None) -> Iterator[int | None]:
    """Hold one GPU of this machine for a run, so that no two runs share one by default; the run then uses that one.

    Nothing is held where the user named the device, where there is no GPU, or where a cluster has already chosen one.
    """
    import torch

    if device != "auto" or "CUDA_VISIBLE_DEVICES" in os.environ or not torch.cuda.is_available():
        yield None
        return
    folder = folder or Path(tempfile.gettempdir()) / f"snnhll-gpus-{os.getuid()}"
    with held_slot(torch.cuda.device_count(), folder) as i, torch.cuda.device(i):
        yield i


@contextmanager
def held_slot(count: int, folder: Path) -> Iterator[int]:
    """Hold the first free of `count` slots, waiting for one while all are taken; the death of the process frees it."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        handles = [stack.enter_context((folder / f"{i}.lock").open("w")) for i in range(count)]
        while (slot := _first_free(handles)) is None:
            time.sleep(SLOT_POLL_SECONDS)
        yield slot


def _first_free(handles: Sequence[IO[str]]) -> int | None:
    for i, handle in enumerate(handles):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return i
        except BlockingIOError:
            continue
    return None
