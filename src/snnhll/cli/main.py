"""The command line: find the sub-command, hand over its arguments, turn mistakes into one line and exit code 2.

Nothing heavy is imported here: help, version and a misspelt command answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys

from snnhll.cli.commands import COMMANDS, COMPOSE_NOTHING
from snnhll.cli.flags import with_config_dirs
from snnhll.errors import UserError, nearest
from snnhll.version import __version__

HELP_WORDS = ("--help", "-h", "help")
VERSION_WORDS = ("--version", "version")

HELP = (
    f"""snnhll {__version__}: spiking neural networks trained without backpropagation through the network

usage
  snnhll [train] [KEY=VALUE ...]             one run; without arguments the digits default, about a minute
  snnhll -m KEY=A,B,C [KEY=VALUE ...]        a sweep: one run for every combination
  snnhll COMMAND --help                      what a command takes
  snnhll COMMAND --config-dir DIR ...        with options of your own: DIR/loss/mine.yaml makes loss=mine

commands
"""
    + "".join(f"  {name:<10} {text}\n" for name, text in COMMANDS.items())
    + """
examples
  snnhll train loss=pred_sim data=mnist      SNN-HLL on MNIST with the settings of the thesis
  snnhll -m loss=pred,sim,pred_sim seed=0,1  six runs
  snnhll train experiment=hll_mnist_mlp data.root=DIR trainer.epochs=20
  snnhll ls loss                             what loss= may be
  snnhll show data=cifar10                   every key and its value
  snnhll eval outputs/RUN noise=gaussian noise.std=0.1,0.2,0.4

keys most often set
  seed, output_dir, force, device, data.root, data.limit, trainer.epochs, trainer.update, trainer.precision,
  architecture.spec, architecture.width, neuron.v_th, neuron.decay, loss.weights.NAME, optimizer.lr, tracking=none

Tab completion: eval "$(snnhll -sc install=bash)"; in fish: snnhll -sc install=fish | source.
A run continues where it was interrupted: give the same command again. Finished runs are not repeated (force=true does).
"""
)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with 0, or 2 after a user's mistake, or 1 when jobs of a sweep failed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(_run(arguments))
    except UserError as error:
        sys.exit(_complain(str(error)))
    except KeyboardInterrupt:
        print("snnhll: interrupted; the same command continues from the last checkpoint.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the reader has gone; nothing is left to say or to close
    except OSError as error:
        sys.exit(_complain(f"{error.filename or 'the system'}: {error.strerror or error}."))


def _run(arguments: list[str]) -> int:
    if "COMP_LINE" in os.environ and "-sc" in arguments:
        from snnhll.cli import complete

        return complete.main(arguments)
    command, rest = _split(arguments)
    if command in HELP_WORDS:
        print(HELP)
        return 0
    if command in VERSION_WORDS:
        print(f"snnhll {__version__}")
        return 0
    module = importlib.import_module(f"snnhll.cli.{command}")
    if set(rest) & {"--help", "-h"}:
        print(module.__doc__)
        return 0
    return int(module.main(rest if command in COMPOSE_NOTHING else with_config_dirs(rest)))


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the command and its arguments; overrides and Hydra's own flags alone mean `train`."""
    if not arguments:
        return "train", []
    first, rest = arguments[0], arguments[1:]
    if first in COMMANDS or first in HELP_WORDS or first in VERSION_WORDS:
        return first, rest
    if "=" in first or first.startswith(("-", "+", "~")):
        return "train", arguments
    raise UserError(f"{first!r} is not a command.{nearest(first, COMMANDS)}")


def _complain(message: str) -> int:
    print("snnhll:", " ".join(message.split()), file=sys.stderr)
    return 2
