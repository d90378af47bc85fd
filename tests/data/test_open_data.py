from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from snnhll.build import build, check, locate
from snnhll.data import open_data, open_images
from snnhll.data.noise.noise import Noise
from snnhll.errors import UserError

CONF = Path(__file__).parents[2] / "conf"


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("[!_]*.yaml"))


def node(group: str, name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(overrides=[f"+{group}={name}", *overrides])
    return OmegaConf.to_container(config[group], resolve=True)


def open_digits(*overrides: str):
    return open_data(node("data", "digits", *overrides), batch_size=32, seed=0, device="cpu")


@pytest.mark.parametrize("name", options("data"))
def test_every_data_option_fits_its_loader_and_carries_the_settings(name: str) -> None:
    config = node("data", name)
    assert config["name"] == name
    shared = {*OmegaConf.load(CONF / "data" / "_shared.yaml"), "name", "recommended", "_target_"}
    loader = locate(config, "data")
    check(loader, {key: value for key, value in config.items() if key not in shared}, "data")
    expected = {"architecture", "spec", "epochs", "dropout", "head_size", "batch_size", "lr"}
    assert set(config["recommended"]) == expected


@pytest.mark.parametrize("name", options("noise"))
def test_every_noise_option_builds_with_the_defaults_of_its_class(name: str) -> None:
    config = node("noise", name)
    noise = build({key: value for key, value in config.items() if key != "name"}, "noise")
    assert isinstance(noise, Noise)
    assert noise.name == config["name"] == name
    assert noise == type(noise)()


@pytest.mark.parametrize(("group", "name"), [(g, n) for g in ("data", "noise") for n in options(g)])
def test_every_option_opens_with_its_command(group: str, name: str) -> None:
    first = (CONF / group / f"{name}.yaml").read_text().splitlines()[0]
    assert re.match(rf"# snnhll train .*\b{group}={name}\b.*   \S", first)


@pytest.mark.parametrize(
    ("name", "epochs", "dropout", "head_size"),
    [("mnist", 100, 0.1, 1024), ("fashion_mnist", 200, 0.2, 1024), ("cifar10", 400, 0.25, 2048)],
)
def test_settings_of_table_3_1(name: str, epochs: int, dropout: float, head_size: int) -> None:
    settings = node("data", name)["recommended"]
    assert (settings["epochs"], settings["dropout"], settings["head_size"]) == (epochs, dropout, head_size)
    assert (settings["batch_size"], settings["lr"]) == (64, 5e-4)


def test_root_comes_from_the_environment_or_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNHLL_DATA", "/somewhere")
    assert node("data", "mnist")["root"] == "/somewhere"
    monkeypatch.delenv("SNNHLL_DATA")
    assert node("data", "mnist")["root"] == "~/.cache/snnhll"


def test_root_of_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "sets" / "MNIST" / "raw"))):
        open_images(node("data", "mnist", "data.root='~/sets'", "data.download=false"))


def test_options_reach_the_batches() -> None:
    overrides = ["data.limit=12", "data.validation=0.25", "data.balanced=true", "data.drop_last=true"]
    data = open_digits(*overrides, "data.augment.cutout=4")
    assert data.splits["train"].labels.bincount().tolist() == [9] * 10
    assert data.steps_per_epoch == 90 // 32
    images, labels = next(iter(data.train_batches(0)))
    counts = labels.bincount(minlength=10)
    assert int(counts.max() - counts.min()) <= 1
    assert images.shape == (32, 1, 8, 8)
    assert bool((images == 0).flatten(1).sum(1).ge(4).all())


def test_an_image_folder_end_to_end(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for level, name in enumerate(("dark", "light")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.full((6 + number, 6, 3), 40 + 150 * level, np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    config = node(
        "data", "image_folder", f"data.root={tmp_path}", "data.size=8", "data.channels=1", "data.validation=0"
    )
    data = open_data(config, batch_size=6, seed=0, device="cpu")
    ((images, labels),) = data.train_batches(0)
    assert images.shape == (6, 1, 8, 8)
    assert torch.equal((images.mean((1, 2, 3)) > 0.5).long(), labels)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.validation=1.0", "data.validation: 1.0 is out of range"),
        ("data.validation=-0.1", "data.validation: -0.1 is out of range"),
        ("data.limit=0", "data.limit: 0 is out of range"),
        ("data.limit=many", "data.limit: expected a whole number, got 'many'"),
        ("data.balanced=3", "data.balanced: expected true or false"),
        ("data.augment.crop=-1", "data.augment.crop: -1 is out of range"),
        ("data.augment.flip=maybe", "data.augment.flip: expected true or false"),
        ("+data.augment.flp=true", "data.augment.flp: no such key. Did you mean 'flip'"),
        ("data.augment=5", "data.augment: expected"),
        ("+data.sise=3", "data.sise: no such key"),
        ("data.root=5", "data.root: expected text"),
        ("data.download=perhaps", "data.download: expected true or false"),
    ],
)
def test_bad_options_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        open_digits(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [("noise.std=-1", "noise.std: -1"), ("noise.when=sometimes", "noise.when: 'sometimes' is not an option")],
)
def test_bad_noise_options_are_named(override: str, message: str) -> None:
    config = node("noise", "gaussian", override)
    with pytest.raises(UserError, match=re.escape(message)):
        build({key: value for key, value in config.items() if key != "name"}, "noise")
