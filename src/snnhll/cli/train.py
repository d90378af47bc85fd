"""snnhll [train] [KEY=VALUE ...]          train one run
snnhll [train] -m KEY=A,B [KEY=VALUE ...]  a sweep: one run for every combination

Every key of `snnhll show` can be overridden. A run's folder is named by what defines it (output_dir/data-network-loss-seed-hash);
giving the same command again continues an interrupted run and does not repeat a finished one (force=true does).

  -m, --multirun        sweep over comma-separated values
  -cd, --config-dir DIR options of your own: DIR/loss/mine.yaml makes loss=mine
  -c job                print the configuration instead of running (as `snnhll show`)
  -sc install=bash      print the tab completion; also install=fish

Exit code: 0, 1 when jobs of a sweep failed, 2 after a mistake in the command, its data or its folder.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from rich.console import Console
from rich.markup import escape

from snnhll.config import compose, conf_dir, explain, plain
from snnhll.errors import UserError, nearest
from snnhll.results import Result

MULTIRUN = ("-m", "--multirun")
FLAGS = (*MULTIRUN, "-cd", "--config-dir", "-c", "--cfg", "-p", "--package", "--resolve")
FLAGS += ("-sc", "--shell-completion", "--info", "--hydra-help")


def main(arguments: list[str]) -> int:
    """Train what the overrides say. Returns 0, or 1 when a job of a sweep failed."""
    flags, overrides = _sorted(arguments)
    if not flags:
        _run_job(compose(overrides), overrides, keep_failure=False)
        return 0
    multirun = any(flag in MULTIRUN for flag in flags)
    if multirun and not {"-cd", "--config-dir"} & set(flags):
        _check_sweep(overrides)
    return _through_hydra(flags, overrides, multirun)


def _sorted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return (flags with their values, overrides): Hydra wants the overrides in one piece."""
    flags, overrides = [], []
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-"):
            name = argument.partition("=")[0]
            if name not in FLAGS:
                raise UserError(f"{argument}: no such flag.{nearest(name, FLAGS)}")
        value = previous.startswith("-") and previous not in (*MULTIRUN, "-sc", "--shell-completion", "--resolve")
        (flags if argument.startswith("-") or value else overrides).append(argument)
    return flags, overrides


def _check_sweep(overrides: list[str]) -> None:
    """Compose every value of a sweep once, so that a misspelt one shows before the first job and before any folder."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except Exception as error:
        raise explain(error, overrides) from error
    values = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_discrete_sweep()
        else [o.input_line]
        for o in parsed
        if o.is_discrete_sweep() or not o.is_sweep_override()
    ]
    first = [own[0] for own in values]
    compose(first)
    for i, own in enumerate(values):
        for value in own[1:]:
            compose([*first[:i], value, *first[i + 1 :]])


def _through_hydra(flags: list[str], overrides: list[str], multirun: bool) -> int:
    """Let Hydra expand a sweep, launch its jobs and answer its own flags."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    failures: list[tuple[str, str]] = []
    jobs: list[str] = []

    @hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")
    def job(node: Any) -> None:
        own = [*HydraConfig.get().overrides.task]
        jobs.append(" ".join(own))
        try:
            _run_job(plain(node), own, keep_failure=multirun)
        except Exception as error:
            if not multirun:
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            failures.append((" ".join(own), reason))
            Console(stderr=True, highlight=False, soft_wrap=True).print(f"failed: {' '.join(own)}: {reason}", markup=False)

    # with this variable Hydra raises instead of printing a traceback and exiting
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["snnhll", *flags, *overrides]
    try:
        job()
    except OSError as error:
        raise UserError(f"output_dir: cannot write ({error}); choose output_dir=FOLDER.") from error
    except Exception as error:
        raise explain(error, overrides) from error
    if multirun and jobs:
        _report(len(jobs), failures)
    return 1 if failures else 0


def _run_job(config: dict[str, Any], overrides: list[str], keep_failure: bool) -> None:
    from snnhll.experiment import run
    from snnhll.tracking.console import ConsoleTracker

    console = Console(highlight=False, soft_wrap=True)
    display = ConsoleTracker(console)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: console.print(f"[yellow]warning[/] {escape(str(message))}")
        result = run(config, overrides, display, keep_failure)
    if not display.started:
        console.print(_finished_before(result), markup=False)


def _finished_before(result: Result) -> str:
    return (
        f"finished before; force=true repeats it\n"
        f"test accuracy {result.test_accuracy:.2%}\n"
        f"result   {result.run_dir}/result.json"
    )


def _report(total: int, failures: list[tuple[str, str]]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{total - len(failures)} of {total} runs finished")
    for overrides, reason in failures:
        console.print(f"failed: {overrides}: {reason}", markup=False)
