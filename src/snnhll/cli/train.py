"""snnhll [train] [KEY=VALUE ...]          train one run
snnhll [train] -m KEY=A,B [KEY=VALUE ...]  a sweep: one run for every combination

Every key of `snnhll show` can be overridden. A run's folder, output_dir/DATA-NETWORK-LOSS-SEED-HASH, is named by what
defines the run: the same command again continues an interrupted run and does not repeat a finished one; force=true
does.

  -m, --multirun         sweep over comma-separated values
  -cd, --config-dir DIR  options of your own: DIR/loss/mine.yaml makes loss=mine
  -c job                 print the configuration instead of running (as `snnhll show`)
  -sc install=bash       print the tab completion; also install=fish

Exit code: 0, 1 when jobs of a sweep failed, 2 after a mistake in the command, its data or its folder.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from snnhll.config import Config, compose, conf_dir, explain
from snnhll.errors import UserError, nearest
from snnhll.results import Result, finished

MULTIRUN = ("-m", "--multirun")
SWITCHES = (*MULTIRUN, "-sc", "--shell-completion", "--resolve")
CONFIG_DIR = ("-cd", "--config-dir")
FLAGS = (*SWITCHES, *CONFIG_DIR, "-c", "--cfg")


def main(arguments: list[str]) -> int:
    """Train what the overrides say. Returns 0, or 1 when a job of a sweep failed."""
    flags, overrides = split(arguments)
    if set(flags) & set(MULTIRUN):
        from snnhll.cli.multirun import sweep

        return sweep(overrides)
    if flags:
        through_hydra(flags, overrides, _nothing)
    else:
        train(compose(overrides), overrides)
    return 0


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return (flags with their values, overrides): Hydra wants the overrides in one piece.

    A folder of options becomes an override too, as everything that composes a configuration understands it.
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            overrides.append(argument)
        elif flag not in FLAGS:
            raise UserError(f"{argument}: no such flag.{nearest(flag, FLAGS)}")
        elif flag in SWITCHES:
            flags.append(argument)
        else:
            value = value if equals else next(rest, "")
            if flag in CONFIG_DIR:
                overrides.append(_search(Path(value)))
            else:
                flags += [flag, value]
    return flags, overrides


def _search(folder: Path) -> str:
    if not folder.is_dir():
        raise UserError(f"--config-dir {folder}: no such folder.")
    return f"hydra.searchpath=['file://{folder.resolve()}']"


def through_hydra(flags: list[str], overrides: list[str], job: Callable[[Any], Any]) -> None:
    """Let Hydra answer its own flags, or launch the jobs of a sweep: `job` gets the configuration of each."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    # with this variable Hydra raises instead of printing a traceback and exiting
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["snnhll", *flags, *overrides]
    try:
        hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from error


def _nothing(node: Any) -> None:
    """Stand where Hydra wants a job although its flags leave none to do."""


def train(config: Config, overrides: list[str], keep_failure: bool = False) -> Result:
    """Train one run with its progress on the terminal, or say that it has finished before."""
    if done := finished(config):  # asked here too, before anything heavy is imported
        print(_finished_before(done))
        return done
    from snnhll.check import check_read
    from snnhll.experiment import run
    from snnhll.tracking.console import ConsoleTracker

    if not keep_failure:  # a sweep may carry keys that not every one of its rules reads
        check_read(config, overrides)
    console = Console(highlight=False, soft_wrap=True)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: console.print(f"[yellow]warning[/] {escape(str(message))}")
        return run(config, overrides, ConsoleTracker(console), keep_failure)


def _finished_before(result: Result) -> str:
    return "\n".join(
        [
            "finished before; force=true repeats it",
            *(f"picture  {result.run_dir}/{picture}" for picture in result.pictures),
            f"test accuracy {result.test_accuracy:.2%}",
            f"result   {result.run_dir}/result.json",
        ]
    )
