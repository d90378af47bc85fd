"""Composition of the configuration, its schemas, and the identity of a run.

No torch here: composing, printing and hashing a configuration must be quick.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from snnhll.build import NonNegativeInt, Positive, PositiveInt, Range, check
from snnhll.errors import UserError, nearest

Config = dict[str, Any]

# What every configuration holds beside the root keys; the other groups are presets, which set keys of these.
SECTIONS = (
    "trainer",
    "data",
    "architecture",
    "neuron",
    "surrogate",
    "encoding",
    "loss",
    "kernel",
    "rule",
    "optimizer",
    "schedule",
    "noise",
    "scale",
    "tracking",
)

# Keys that change where, how fast or how visibly a run happens, never what it computes.
NOT_IDENTITY = (
    "output_dir",
    "force",
    "device",
    "threads",
    "trust",
    "tracking",
    "scale",
    "data.root",
    "data.download",
    "data.recommended",
    "data.workers",
    "trainer.checkpoint_minutes",
    "trainer.eval_batch_size",
    "trainer.cuda_graphs",
    "trainer.parallel",
    "trainer.processes",
    "trainer.gather",
)


# Overrides by which options of the user's own are found, as --config-dir has it, and trusted.
SEARCH = "hydra.searchpath="
OWN = (SEARCH, "trust=")


class NotInstalledError(UserError):
    """An option needs a package that is an extra of this one."""


@dataclass(frozen=True)
class TrainerSettings:
    """How long and in which pieces a run trains."""

    epochs: PositiveInt
    batch_size: Annotated[int, Range(2)]
    steps: PositiveInt
    update: Literal["online", "accumulate", "final", "rate"]
    precision: Literal["float32", "bfloat16"]
    eval_batch_size: PositiveInt
    checkpoint_minutes: Positive
    cuda_graphs: bool = False
    parallel: Literal["none", "layers", "data"] = "none"  # a run folder may be older than these keys
    processes: PositiveInt | None = None
    gather: bool = True


@dataclass(frozen=True)
class ArchitectureSettings:
    """The network as a specification string (snnhll.networks.spec) and what applies to all its layers."""

    spec: str
    width: Positive
    dropout: Annotated[float, Range(0, 1, open_high=True)]
    norm: Literal["none", "batch", "weight", "bntt"]


@dataclass(frozen=True)
class Settings:
    """The root keys that are not groups."""

    seed: NonNegativeInt
    output_dir: str
    force: bool
    device: str
    threads: Annotated[int, Range(1, 1024)] | None
    trust: list[str]
    trainer: TrainerSettings
    architecture: ArchitectureSettings


def settings(config: Config) -> Settings:
    """Return the checked settings of a composed configuration. Raises UserError on a wrong name, type or range."""
    trainer = TrainerSettings(**check(TrainerSettings, config["trainer"], "trainer"))
    layout = {k: v for k, v in config["architecture"].items() if k != "name"}
    architecture = ArchitectureSettings(**check(ArchitectureSettings, layout, "architecture"))
    own = {k: convert_root(config, k) for k in ("seed", "output_dir", "force", "device", "threads", "trust")}
    return Settings(trainer=trainer, architecture=architecture, **own)


def convert_root(config: Config, key: str) -> Any:
    """Return one checked root key."""
    try:
        return check(Settings, {key: config[key]}, "config")[key]
    except UserError as error:
        raise UserError(str(error).removeprefix("config.")) from None


def conf_dir() -> Path:
    """Return the folder of the configuration: that of the installed package, else the repository's."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def conf_dirs(overrides: Sequence[str]) -> list[Path]:
    """Return the folders that options are looked for in: that of the configuration, then those that overrides name."""
    named = [place for override in overrides if override.startswith(SEARCH) for place in _places(override)]
    return [conf_dir(), *(Path(place.removeprefix("file://")) for place in named if place.startswith("file://"))]


def _places(override: str) -> list[str]:
    """Return the value of hydra.searchpath=[...]. Raises UserError where it is no list."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        value = None
    if not isinstance(value, list):
        raise UserError(f"{override}: expected a list, as in {SEARCH}[file:///home/me/my_conf].")
    return [str(place) for place in value]


def take_own(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides by which options of the user's own are found and trusted, and the other words."""
    return [w for w in words if w.startswith(OWN)], [w for w in words if not w.startswith(OWN)]


def compose(overrides: Sequence[str], resolve: bool = True) -> Config:
    """Return the composed configuration as plain dicts and lists. Raises UserError on a misspelt key or option."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return plain(hydra_compose("train", list(overrides)), resolve)
    except Exception as error:
        raise explain(error, overrides) from error


def plain(config: Any, resolve: bool = True) -> Config:
    """Return an OmegaConf configuration as plain dicts and lists, without Hydra's own node."""
    from omegaconf import OmegaConf

    container = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(container, dict)
    composed = {str(k): v for k, v in container.items() if k != "hydra"}
    _check_sections(composed)
    return composed


def as_yaml(config: Config) -> str:
    """Return a configuration as YAML; where there is no OmegaConf as JSON, which is YAML too."""
    try:
        from omegaconf import OmegaConf
    except ImportError:
        return json.dumps(config, indent=2) + "\n"
    return OmegaConf.to_yaml(OmegaConf.create(config))


def _check_sections(config: Config) -> None:
    """Check that every section and root key is there, and nothing else: an override can remove or add any key."""
    known = {*SECTIONS, *(f.name for f in fields(Settings))}
    for key in sorted(known):
        if key not in config:
            raise UserError(f"{key}: missing; every run needs it, see `snnhll show`.")
        if key in SECTIONS and not isinstance(config[key], dict):
            raise UserError(f"{key}: expected keys below it, as in `snnhll show`, got {config[key]!r}.")
        if key in SECTIONS and key != "trainer" and "name" not in config[key]:
            raise UserError(f"{key}.name: missing; choose an option with {key}=NAME.")
    if unknown := next((key for key in config if key not in known), None):
        raise UserError(f"{unknown}: no such key.{nearest(unknown, known)}")


def explain(error: Exception, overrides: Sequence[str]) -> UserError:
    """Return the one line that stands for an exception of Hydra or OmegaConf, with the nearest known name."""
    if isinstance(error, UserError):
        return error
    text = " ".join(str(error).split())
    if unreadable := next((o for o in overrides if "=" not in o and not o.startswith("~")), None):
        return UserError(f"{unreadable!r} is not of the form KEY=VALUE.")
    for override in overrides:
        group, _, option = override.partition("=")
        if group in groups() and not re.fullmatch(r"(?!null$|\d+$)[\w./,-]+", option):
            return UserError(f"{override}: expected the name of an option.{nearest(option, options(group, overrides))}")
    if match := re.search(r"Could not find 'hydra/(launcher|sweeper)/", text):
        chosen = next((o for o in overrides if o.startswith(f"{match[1]}=")), f"{match[1]}=?")
        extra = chosen.partition("=")[2].partition("_")[0]
        return NotInstalledError(f"{chosen}: not installed; pip install 'snnhll[{extra}]'.")
    if match := re.search(r"Could not find '([\w-]+)/([\w./-]+)'", text):
        group, option = match.groups()
        return UserError(f"{group}={option}: no such option.{nearest(option, options(group, overrides))}")
    if match := re.search(r"Could not override '([\w.@/]+)'", text):
        return _unknown_key(match[1], overrides)
    if match := re.search(r"Key '([^']+)' is not in struct full_key: (\S+)", text):
        return _unknown_key(match[2], overrides)
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return UserError(f"{match[1]}: several values make a sweep, which needs -m; a list is written KEY=[a,b].")
    if unnamed := next((o for o in overrides if o.startswith("=")), None):
        return UserError(f"{unnamed!r} is not of the form KEY=VALUE.")
    if "LexerNoViableAlt" in text or "mismatched input" in text or "no viable alternative" in text:
        reason = text.split(" See https")[0]
        return UserError(f"Cannot read the overrides: {reason}. Quote special characters: 'KEY=\"a,b\"'.")
    return UserError(text.split(" Set the environment variable")[0].split(" See https")[0])


def _unknown_key(key: str, overrides: Sequence[str]) -> UserError:
    """Name the option that has an unknown key, else the key most like it: that very name in another section, else a
    neighbour of its own section."""
    try:
        tree = compose([o for o in overrides if o.partition("=")[0] in groups() or o.startswith(OWN)], resolve=False)
    except UserError:
        tree = compose([], resolve=False)
    if other := _option_with(key):
        group = key.partition(".")[0]
        return UserError(f"{key}: {group}={tree[group]['name']} has no such key; {group}={other} has.")
    known = sorted({*_paths(tree), *groups()})
    head, _, leaf = key.rpartition(".")
    beside = [_leaf(path) for path in known if path.rpartition(".")[0] == head]
    elsewhere = min((path for path in known if _leaf(path) == leaf), key=lambda path: path.count("."), default=None)
    roots = {path.partition(".")[0] for path in known}
    first = key.partition(".")[0]
    hint = nearest(leaf, beside) or ("" if first in roots else nearest(first, roots))
    if elsewhere:
        hint = f" Did you mean {elsewhere!r}?"
    return UserError(f"{key}: no such key.{hint}")


def _option_with(key: str) -> str | None:
    """Return the first shipped option whose file sets a key of its group; None where none does."""
    from omegaconf import OmegaConf

    group, _, below = key.partition(".")
    if group not in SECTIONS:
        return None
    for name in options(group):
        tree = OmegaConf.to_container(OmegaConf.load(conf_dir() / group / f"{name}.yaml"))
        if below in _paths(tree):
            return name
    return None


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _paths(node: Any, above: str = "") -> list[str]:
    """Return the dotted paths of all keys below `node` that are meant to be overridden."""
    if not isinstance(node, dict):
        return []
    own = {f"{above}{key}": value for key, value in node.items() if key not in ("_target_", "name", "recommended")}
    return [path for key, value in own.items() for path in (key, *_paths(value, f"{key}."))]


def groups() -> list[str]:
    """Return the names of all configuration groups."""
    return sorted({p.parent.name for p in conf_dir().glob("*/*.yaml")})


def options(group: str, overrides: Sequence[str] = ()) -> list[str]:
    """Return the names of all options of a group; files that open with an underscore are shared parts, not options.

    overrides: may name folders of options of the user's own.
    """
    folders = [folder / group for folder in conf_dirs(overrides)]
    files = (p.relative_to(folder) for folder in folders for p in folder.rglob("*.yaml"))
    return sorted({str(p.with_suffix("")) for p in files if not p.name.startswith("_")})


def identity(config: Config) -> str:
    """Return the hash of what defines a run: 12 hexadecimal digits, independent of place, device and display.

    So it is of parallelism, whose numbers are those of one process, unless processes compare their own samples only.
    """
    defining = json.loads(json.dumps(config))
    trainer = config["trainer"]
    apart = trainer.get("parallel") == "data" and not trainer.get("gather", True)
    for path in NOT_IDENTITY:
        *parents, leaf = path.split(".")
        node = defining
        for parent in parents:
            node = node.get(parent, {})
        node.pop(leaf, None)
    if apart:
        defining["trainer"] |= {"gather": False, "processes": trainer.get("processes")}
    defining = _one_number_type(defining)
    return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:12]


def _one_number_type(value: Any) -> Any:
    """Return `value` with whole numbers as integers, so that v_th=1 and v_th=1.0 are one configuration."""
    if isinstance(value, dict):
        return {k: _one_number_type(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_one_number_type(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def learner(config: Config) -> str:
    """Return what a run is called by: its loss under rules that use one, else its rule."""
    rule, loss = config["rule"]["name"], config["loss"]["name"]
    return loss if rule == "local" else rule


def run_name(config: Config) -> str:
    """Return the name of the run's folder, readable first, unique by the hash."""
    parts = (config["data"]["name"], config["architecture"]["name"], learner(config), f"s{config['seed']}")
    return "-".join((*map(str, parts), identity(config)))
