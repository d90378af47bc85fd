"""One run on the terminal: its progress, its warnings, or that it has finished before."""

from __future__ import annotations

import warnings

from rich.console import Console
from rich.markup import escape

from snnhll.config import Config
from snnhll.results import Result, finished


def train(config: Config, overrides: list[str], keep_failure: bool = False) -> Result:
    """Train one run with its progress on the terminal, or say that it has finished before."""
    if done := finished(config):  # asked here too, before anything heavy is imported
        print(_finished_before(done))
        return done
    from snnhll.experiment import run
    from snnhll.tracking.console import ConsoleTracker

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
