"""snnhll show [KEY=VALUE ...]   print the composed configuration as YAML, every value resolved
snnhll show --raw ...         keep interpolations such as ${data.recommended.epochs}
"""

from __future__ import annotations

from snnhll.config import compose, identity

FLAGS = {"--raw": ""}


def main(arguments: list[str]) -> int:
    """Print the configuration and, below it, the hash that identifies its run."""
    from omegaconf import OmegaConf

    raw = "--raw" in arguments
    config = compose([a for a in arguments if a not in FLAGS], resolve=not raw)
    print(OmegaConf.to_yaml(OmegaConf.create(config)), end="")
    if not raw:
        print(f"# identity {identity(config)}")
    return 0
