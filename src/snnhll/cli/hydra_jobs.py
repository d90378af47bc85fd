"""Handing a command line to Hydra: for its own flags, and for sweeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from snnhll.config import conf_dir, explain


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
