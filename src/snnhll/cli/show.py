"""snnhll show [KEY=VALUE ...]   print the composed configuration as YAML, every value resolved

  --raw    keep interpolations such as ${data.recommended.epochs}
"""

from __future__ import annotations

from snnhll.config import compose, identity


def main(arguments: list[str]) -> int:
    """Print the configuration and the hash that identifies its run."""
    from omegaconf import OmegaConf

    config = compose([a for a in arguments if a != "--raw"], resolve="--raw" not in arguments)
    print(OmegaConf.to_yaml(OmegaConf.create(config)), end="")
    if "--raw" not in arguments:
        print(f"# identity {identity(config)}")
    return 0
