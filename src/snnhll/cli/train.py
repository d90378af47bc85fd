"""snnhll [train] [KEY=VALUE ...]          train one run
snnhll [train] -m KEY=A,B [KEY=VALUE ...]  a sweep: one run for every combination

Every key of `snnhll show` can be overridden. A run's folder, output_dir/DATA-NETWORK-LOSS-SEED-HASH, is named by what
defines the run: the same command again continues an interrupted run and does not repeat a finished one; force=true
does.

  -m, --multirun         sweep over comma-separated values
  -cd, --config-dir DIR  options of your own: DIR/loss/mine.yaml makes loss=mine
  -c job                 print the configuration instead of running (as `snnhll show`)
  -sc install=bash       print the tab completion; also install=fish

Exit code: 0, 1 when jobs of a sweep failed, 2 after a mistake in the command, its data or its folder, 130 after Ctrl-C.
"""

from __future__ import annotations

from typing import Any

from snnhll.cli.flags import CONFIG_DIR
from snnhll.cli.hydra_jobs import through_hydra
from snnhll.cli.one_run import train
from snnhll.config import compose
from snnhll.errors import UserError, nearest

MULTIRUN = ("-m", "--multirun")
SWITCHES = (*MULTIRUN, "-sc", "--shell-completion", "--resolve")
CONFIGURATIONS = ("job", "hydra", "all")  # of which Hydra can print each
FLAGS = {**dict.fromkeys(SWITCHES, ""), **dict.fromkeys(CONFIG_DIR, "DIR"), "-c": "job", "--cfg": "job"}


def main(arguments: list[str]) -> int:
    """Train what the overrides say. Returns 0, or 1 when a job of a sweep failed."""
    flags, overrides = split(arguments)
    _check_flags(flags, overrides)
    if set(flags) & set(MULTIRUN):
        from snnhll.cli.multirun import sweep

        return sweep(overrides)
    if flags:
        through_hydra(flags, overrides, _nothing)
    else:
        train(compose(overrides), overrides)
    return 0


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return (flags with their values, overrides): Hydra wants the overrides in one piece."""
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
            flags += [flag, value if equals else next(rest, "")]
    return flags, overrides


def _check_flags(flags: list[str], overrides: list[str]) -> None:
    """Raise UserError for flags that do not go together, or lack what follows them."""
    given = set(flags) & set(FLAGS)
    shown, completed = given & {"-c", "--cfg"}, given & {"-sc", "--shell-completion"}
    if given & set(MULTIRUN) and (others := sorted(given - set(MULTIRUN))):
        raise UserError(f"{others[0]}: does not go with -m.")
    if shown and not set(flags) & set(CONFIGURATIONS):
        raise UserError(f"{shown.pop()}: expected job after it.")
    if "--resolve" in given and not shown:
        raise UserError("--resolve: goes with -c job.")
    asked = [o for o in overrides if o.partition("=")[0] in ("install", "uninstall", "query")]
    if completed and len(asked) != 1:
        raise UserError(f"{completed.pop()}: expected install=bash, install=fish or uninstall=bash after it.")


def _nothing(node: Any) -> None:
    """Stand where Hydra wants a job although its flags leave none to do."""
