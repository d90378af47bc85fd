"""Composition, what the plainest lines mean, and what makes two configurations the same run."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from snnhll.assemble import Problem, build_rule, make_optimizer, option
from snnhll.config import SECTIONS, Config, compose, conf_dir, groups, identity, run_name, settings
from snnhll.errors import UserError
from snnhll.networks.spec import parse

GROUPS = [*(g for g in SECTIONS if g in groups()), "experiment"]
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
IMAGES = {
    "digits": ((1, 8, 8), 10),
    "mnist": (GREY, 10),
    "fashion_mnist": (GREY, 10),
    "cifar10": (COLOUR, 10),
    "cifar100": (COLOUR, 100),
    "image_folder": (COLOUR, 7),
    "image_stream": ((3, 224, 224), 7),
    "n_mnist": ((20, 34, 34), 10),
    "cifar10_dvs": ((20, 64, 64), 10),
    "dvs128_gesture": ((20, 64, 64), 11),
}


@functools.cache
def composed(*overrides: str) -> Config:
    """A configuration that tests share and do not change."""
    return compose(overrides)


@pytest.fixture(scope="module")
def default() -> Config:
    return composed()


def files() -> list[Path]:
    return [p for g in groups() for p in sorted((conf_dir() / g).rglob("*.yaml")) if not p.name.startswith("_")]


# Every option


def test_root_groups_are_the_issue_s() -> None:
    named = "neuron surrogate encoding architecture loss kernel rule data optimizer schedule noise tracking experiment"
    assert set(named.split()) <= set(GROUPS)


def test_the_nine_losses_carry_the_weights_of_the_specification() -> None:
    weights = {
        "pred": {"pred": 1.0},
        "sim": {"sim": 1.0},
        "contrast": {"contrast": 1.0},
        "pred_recon": {"pred": 0.5, "recon": 0.5},
        "sim_recon": {"sim": 0.01, "recon": 0.99},
        "pred_contrast": {"pred": 0.95, "contrast": 0.05},
        "sim_contrast": {"sim": 0.2, "contrast": 0.8},
        "pred_sim": {"pred": 0.99, "sim": 0.01},
        "pred_sim_contrast": {"pred": 0.95, "sim": 0.01, "contrast": 0.04},
    }
    for name, expected in weights.items():
        found = composed(f"loss={name}")["loss"]["weights"]
        assert {term: w for term, w in found.items() if w} == expected, name


def advertised(path: Path) -> list[str]:
    """Overrides of the command a file opens with; a preset's first line sets its package."""
    lines = path.read_text().splitlines()
    first = lines[1] if lines[0] == "# @package _global_" else lines[0]
    match = re.fullmatch(r"# snnhll (train|sweep \w+|-m) (.+?)   (\S.*)", first)
    assert match, f"{path}: {first!r} is not a command, three spaces and a description"
    return match[2].split()


@pytest.mark.parametrize("path", files(), ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_file_opens_with_a_command_that_uses_it(path: Path) -> None:
    """The command composes, holds this option, and everything in it is built; data sets are not opened.

    Networks are built narrow; that the specification fits the images is checked at full width too.
    """
    inside = path.relative_to(conf_dir()).with_suffix("")
    group, name = inside.parts[0], "/".join(inside.parts[1:])
    if group not in (*SECTIONS, "experiment"):  # presets for sweeps may need a plugin
        assert f"{group}={name}" in advertised(path)
        return
    config = composed(*advertised(path))
    if (group, name) == ("architecture", "recommended"):
        assert config["architecture"]["name"] == config["data"]["recommended"]["architecture"]
    elif group in SECTIONS:
        assert config[group]["name"] == name
    chosen = settings(config)
    shape, classes = IMAGES[config["data"]["name"]]
    if group == "architecture" and config["data"]["name"] == "digits":
        shape = (1, 28, 28) if name != "small" else shape
    layers = parse(chosen.architecture.spec, shape, classes, chosen.architecture.width)
    narrow = replace(chosen.architecture, width=4 / min(layer.units for layer in layers) * chosen.architecture.width)
    problem = Problem(shape, classes, [0.5] * shape[0], [0.25] * shape[0])
    rule = build_rule(config, replace(chosen, architecture=narrow), problem)
    assert rule.network.classes == classes
    for part in ("schedule", "noise", "tracking"):
        option(config, part)


# The plainest lines, table 3-1

COMMON = {
    "trainer.batch_size": 64,
    "trainer.steps": 10,
    "neuron.name": "lif",
    "neuron.v_th": 1.0,
    "neuron.reset": "soft",
    "optimizer.name": "adam",
    "optimizer.lr": 5e-4,
    "schedule.name": "step",
    "schedule.decay": 0.25,
    "schedule.milestones": [0.5, 0.75, 0.875, 0.9375],
    "surrogate.name": "exponential",
    "surrogate.alpha": 1.0,
    "encoding.name": "direct",
    "rule.name": "local",
    "loss.name": "pred_sim",
}
VGG8 = "128C3-256C3-P2-256C3-512C3-P2-512C3-P2-512C3-P2-FC1024-FC10"
NETWORKS = {
    "mnist": ("784-1024-10", 100, 0.1, 1024),
    "fashion_mnist": (VGG8, 200, 0.2, 1024),
    "cifar10": (VGG8, 400, 0.25, 2048),
}


def value(config: Config, path: str) -> Any:
    node: Any = config
    for key in path.split("."):
        node = node[key]
    return node


def assert_table_3_1(config: Config, spec: str, epochs: int, dropout: float, head: int, width: float = 1.0) -> None:
    expected = COMMON | {
        "architecture.width": width,
        "architecture.dropout": dropout,
        "trainer.epochs": epochs,
        "loss.terms.pred.head_size": head,
    }
    assert {path: value(config, path) for path in expected} == expected
    shape, classes = IMAGES[config["data"]["name"]]
    assert parse(value(config, "architecture.spec"), shape, classes) == parse(spec, shape, classes)
    assert value(config, "neuron.decay") == pytest.approx(2.718281828459045**-1, rel=1e-15)


@pytest.mark.parametrize("data", NETWORKS)
def test_plainest_line_runs_table_3_1(data: str) -> None:
    config = composed("loss=pred_sim", f"data={data}")
    assert_table_3_1(config, *NETWORKS[data])
    assert config["trainer"]["update"] == "accumulate"


@pytest.mark.parametrize(
    ("preset", "data", "spec", "dropout", "width"),
    [
        ("hll_mnist_mlp", "mnist", "784-1024-10", 0.1, 1.0),
        ("hll_mnist_cnn", "mnist", "12C5-P2-64C5-P2-FC10", 0.2, 1.0),
        ("hll_fashion_mnist", "fashion_mnist", VGG8, 0.2, 1.0),
        ("hll_fashion_mnist_2x", "fashion_mnist", VGG8, 0.2, 2.0),
        ("hll_cifar10", "cifar10", VGG8, 0.25, 1.0),
        ("hll_cifar10_2x", "cifar10", VGG8, 0.25, 2.0),
    ],
)
def test_presets_run_table_3_1_and_their_literal_twins_the_thesis_at_its_word(
    preset: str, data: str, spec: str, dropout: float, width: float
) -> None:
    config = composed(f"experiment={preset}")
    assert config["data"]["name"] == data
    assert_table_3_1(config, spec, NETWORKS[data][1], dropout, NETWORKS[data][3], width)
    literal = composed(f"experiment={preset}_literal")
    expected = {
        "architecture.norm": "none",
        "loss.terms.pred.head_size": None,
        "loss.terms.sim.centre": False,
        "loss.terms.sim.spatial": "flatten",
        "loss.terms.sim.scale": "sum",
        "loss.terms.sim.head_size": None,
        "loss.terms.sim.projection": True,
        "loss.terms.contrast.normalise": False,
    }
    assert {path: value(literal, path) for path in expected} == expected
    same = ["data.name", "architecture.spec", "architecture.width", "architecture.dropout", "trainer.epochs"]
    assert [value(literal, path) for path in same] == [value(config, path) for path in same]


KERNELS = ["gaussian", "cosine", "laplacian", "sigmoid", "linear", "gaussian_literal", "laplacian_literal"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("preset", ["hbh_mnist_mlp", "hbh_mnist_cnn", "hbh_fashion_mnist"])
def test_every_kernel_goes_with_every_hbh_preset_and_its_twin(preset: str, kernel: str) -> None:
    for twin in (preset, f"{preset}_literal"):
        built = option(composed(f"experiment={twin}", f"kernel={kernel}"), "kernel")
        assert built.name == kernel.removesuffix("_literal")


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_every_optimiser_goes_with_the_literal_hbh_twin(name: str) -> None:
    config = composed("experiment=hbh_mnist_mlp_literal", f"optimizer={name}")
    weight = torch.nn.Parameter(torch.zeros(2))
    assert make_optimizer(config, [], [weight]).param_groups[0]["lr"] == 5e-4


@pytest.mark.parametrize("preset", ["hbh_mnist_mlp", "hbh_mnist_cnn", "hbh_fashion_mnist"])
def test_literal_hbh_twins_have_the_printed_kernel(preset: str) -> None:
    """Table 4-1: σ = 5 for all of X, Y and Z."""
    config = composed(f"experiment={preset}_literal")
    printed = {"kernel.sigma": 5.0, "kernel.bandwidth": "fixed", "loss.terms.hsic.label_kernel": "same"}
    assert {path: value(config, path) for path in printed} == printed


def test_crop_and_flip_are_for_colour_sets_only() -> None:
    augmented = {d: composed(f"data={d}")["data"]["augment"] for d in ("mnist", "fashion_mnist", "cifar10")}
    assert augmented["cifar10"] == {"crop": 4, "flip": True, "cutout": 0}
    assert augmented["mnist"] == augmented["fashion_mnist"] == {"crop": 0, "flip": False, "cutout": 0}


def test_any_override_wins() -> None:
    given = {
        "trainer.epochs": 3,
        "architecture.dropout": 0.0,
        "architecture.spec": "FC5-n",
        "optimizer.lr": 0.125,
        "loss.terms.pred.head_size": 7,
        "trainer.batch_size": 5,
    }
    config = composed("data=cifar10", *(f"{k}={v}" for k, v in given.items()))
    assert {path: value(config, path) for path in given} == given
    assert composed("data=mnist", "architecture=cnn")["architecture"]["spec"] == "12C5-P2-64C5-P2-FCn"
    assert composed("experiment=hll_cifar10", "trainer.epochs=2")["trainer"]["epochs"] == 2


# Mistakes


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("loss=pred_simm", "loss=pred_simm: no such option. Did you mean 'pred_sim'?"),
        ("data=minst", "data=minst: no such option. Did you mean 'mnist'?"),
        ("losss=pred", "losss: no such key. Did you mean 'loss'?"),
        ("trainer.epoch=3", "trainer.epoch: no such key. Did you mean 'epochs'?"),
        ("neuron.vth=1", "neuron.vth: no such key. Did you mean 'v_th'?"),
        ("trainer.epochs", "'trainer.epochs' is not of the form"),
    ],
)
def test_misspelt_overrides_name_the_nearest(override: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)) as raised:
        compose([override])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "wrong", "says"),
    [
        ("trainer.epochs", 0, r"trainer\.epochs: 0 is out of range, expected a number >= 1"),
        ("trainer.batch_size", 1, r"trainer\.batch_size: 1 is out of range, expected a number >= 2"),
        ("trainer.steps", 2.5, r"trainer\.steps: expected a whole number, got 2\.5"),
        ("trainer.update", "offline", r"trainer\.update: 'offline' is not an option\. Did you mean 'online'\?"),
        ("trainer.precision", "float16", r"trainer\.precision: 'float16' is not an option"),
        ("architecture.dropout", 1.0, r"architecture\.dropout: 1\.0 is out of range, expected a number in \[0, 1\)"),
        ("architecture.norm", "layer", r"architecture\.norm: 'layer' is not an option"),
        ("architecture.width", 0, r"architecture\.width: 0\.0 is out of range"),
        ("seed", -1, r"^seed: -1 is out of range, expected a number >= 0"),
        ("force", "yes", r"^force: expected true or false, got 'yes'"),
        ("threads", 0, r"^threads: 0 is out of range"),
    ],
)
def test_settings_are_checked(default: Config, path: str, wrong: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        settings(changed(default, path, wrong))


# Identity


def changed(config: Config, path: str, new: Any) -> Config:
    config = copy.deepcopy(config)
    *parents, leaf = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    assert leaf in node
    node[leaf] = new
    return config


PLACE = {
    "output_dir": "elsewhere",
    "force": True,
    "device": "cuda",
    "threads": 3,
    "trust": ["mine"],
    "scale": {"name": "smoke"},
    "tracking": {"name": "none"},
    "data.root": "/somewhere/else",
    "data.download": False,
    "trainer.checkpoint_minutes": 1.5,
    "trainer.eval_batch_size": 7,
    "trainer.cuda_graphs": True,
    "trainer.parallel": "layers",
    "trainer.processes": 3,
    "trainer.gather": False,
}


@pytest.mark.parametrize("path", PLACE)
def test_place_speed_and_display_do_not_define_a_run(default: Config, path: str) -> None:
    assert identity(changed(default, path, PLACE[path])) == identity(default)


@pytest.mark.parametrize("data", ["image_folder", "image_stream"])
def test_the_folder_of_a_set_of_ones_own_defines_the_run(data: str) -> None:
    one, other = (identity(composed(f"data={data}", f"data.root={root}")) for root in ("/one", "/other"))
    assert one != other


def test_processes_that_compare_their_own_samples_define_a_run(default: Config) -> None:
    """Only there are the numbers others than those of one process, and they depend on how many processes there are."""
    shared = changed(default, "trainer.parallel", "data")
    apart = changed(shared, "trainer.gather", False)
    more = changed(apart, "trainer.processes", 3)
    assert identity(shared) == identity(default)
    assert len({identity(default), identity(apart), identity(more)}) == 3


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, child in node.items():
        where = f"{path}.{key}" if path else key
        if isinstance(child, dict):
            yield from leaves(child, where)
        else:
            yield where, child


def test_everything_else_defines_it(default: Config) -> None:
    """One leaf after another is changed; all configurations that arise are different runs."""
    seen = {identity(default)}
    places = (*PLACE, "data.recommended")
    defining = [(p, v) for p, v in leaves(default) if not any(p == q or p.startswith(f"{q}.") for q in places)]
    assert len(defining) > 50
    for path, old in defining:
        new = not old if isinstance(old, bool) else old + 1 if isinstance(old, (int, float)) else "changed"
        seen.add(identity(changed(default, path, new)))
        assert len(seen) == 1 + defining.index((path, old)) + 1, path


def test_two_ways_to_say_the_same_are_one_run(default: Config) -> None:
    in_full = composed("architecture=mlp", "data=mnist", "loss=pred_sim", "trainer.epochs=100")
    assert identity(in_full) == identity(composed("data=mnist"))
    assert identity(composed("experiment=hll_cifar10")) == identity(composed("data=cifar10")) != identity(default)
    assert identity(changed(default, "neuron.v_th", 1)) == identity(changed(default, "neuron.v_th", 1.0))
    reordered = dict(reversed(default.items()))
    assert identity(reordered) == identity(default)


def test_identity_leaves_the_configuration_alone(default: Config) -> None:
    before = copy.deepcopy(default)
    identity(default)
    assert default == before


def test_run_name_is_readable_first_and_unique(default: Config) -> None:
    assert run_name(default) == f"digits-small-pred_sim-s0-{identity(default)}"
    assert re.fullmatch(r"[0-9a-f]{12}", identity(default))
    other = changed(default, "rule.name", "bptt")
    assert run_name(other).startswith("digits-small-bptt-s0-")


def test_composing_needs_no_torch() -> None:
    code = (
        "import sys; from snnhll.config import compose, identity; identity(compose([])); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
