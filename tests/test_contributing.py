"""The walk-through of CONTRIBUTING.md, done as it stands: its files written, its commands run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
SECTION = TEXT.partition("## Add your own loss\n")[2].partition("\n## ")[0]
FILES = dict(re.findall(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```$", SECTION, flags=re.M | re.S))
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```$", SECTION, flags=re.M | re.S)

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the walk-through is written for a shell")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy with the files of the walk-through added, each in a new place."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPOSITORY / "conf", copy / "conf")
    package = copy / "src" / "snnhll"
    package.mkdir(parents=True)
    for entry in (REPOSITORY / "src" / "snnhll").iterdir():
        if entry.name == "losses":
            shutil.copytree(entry, package / entry.name)
        else:  # linked, so that compiled kernels are found again
            (package / entry.name).symlink_to(entry)
    for name, content in FILES.items():
        path = copy / name
        assert not path.exists(), f"{name} is taken"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return copy


@pytest.fixture(scope="module")
def said(checkout: Path) -> str:
    """What the commands of the walk-through print."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "src"),
    }
    command = ["bash", "-e", "-c", COMMANDS]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_walk_through_is_one_file_one_yaml_and_a_test() -> None:
    assert list(FILES) == [
        "src/snnhll/losses/activity.py",
        "conf/loss/pred_activity.yaml",
        "tests/losses/test_activity.py",
    ]
    assert all(not (REPOSITORY / name).exists() for name in FILES)


def test_the_loss_is_listed_with_its_description(said: str) -> None:
    assert re.search(r"^  pred_activity +prediction, at a wanted firing rate$", said, flags=re.M)


def test_the_loss_is_trained_and_logged_per_layer(said: str, checkout: Path) -> None:
    (result,) = (json.loads(path.read_text()) for path in checkout.glob("outputs/*/result.json"))
    assert (result["status"], result["loss"], result["epochs"]) == ("finished", "pred_activity", 2)
    (metrics,) = checkout.glob("outputs/*/metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    layers = len(result["firing_rates"])
    for row in rows:
        assert {f"layer{i}/{term}" for i in range(1, layers + 1) for term in ("pred", "activity")} <= set(row["losses"])


def test_the_test_of_the_walk_through_passes(said: str) -> None:
    assert re.search(r"\b1 passed in ", said.splitlines()[-1])
