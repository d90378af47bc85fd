"""What the documents say of the command line is true of it."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from snnhll.cli.commands import COMMANDS
from snnhll.config import NOT_IDENTITY, ArchitectureSettings, Settings, TrainerSettings, compose, groups
from snnhll.version import __version__

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
README, CONFIGURATION = DOCUMENTS[0].read_text(), (REPOSITORY / "docs" / "configuration.md").read_text()


def _command_lines() -> list[str]:
    """Every line of the README and of docs/configuration.md that calls snnhll, in blocks of code and in the table."""
    texts = README, CONFIGURATION
    blocks = "\n".join(block for text in texts for block in re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    quoted = [line for text in texts for line in re.findall(r"`(snnhll[^`]*)`", text)]
    lines = [line.partition("#")[0].strip() for line in (*blocks, *quoted)]
    return sorted({line for line in lines if line.startswith("snnhll") and "..." not in line})


def _first_values(overrides: list[str]) -> list[str]:
    """The first job of a sweep."""
    return [o if "[" in o else o.partition(",")[0] for o in overrides]


COMPOSED = [
    line
    for line in _command_lines()
    if "--config-dir" not in line and (shlex.split(line)[1:2] or ["train"])[0] in ("train", "-m", "show")
]


@pytest.mark.parametrize("line", COMPOSED)
def test_overrides_in_the_documents_compose(line: str) -> None:
    overrides = [word for word in shlex.split(line)[1:] if "=" in word]
    compose(_first_values(overrides))


@pytest.mark.parametrize("line", _command_lines())
def test_commands_in_the_documents_exist(line: str) -> None:
    word = (shlex.split(line)[1:] or ["train"])[0]
    assert word in COMMANDS or word.startswith("-") or word == "COMMAND"


def test_the_readme_names_every_command() -> None:
    table = README.partition("## Command line")[2].partition("\n## ")[0]
    for command in COMMANDS:
        assert re.search(rf"`snnhll \[?{command}\b", table), command


def test_the_readme_names_the_two_commands_first() -> None:
    first = re.search(r"```sh\n(.*?)```", README, re.S)
    assert first is not None
    assert first[1].splitlines() == ["make demo", "make test"]


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (REPOSITORY / "Makefile").read_text(), re.M))
    for text in (README, CONFIGURATION, DOCUMENTS[1].read_text()):
        named = re.findall(r"^make ((?:[a-z][\w-]* ?)+)", text, re.M) + re.findall(r"`make ([a-z][\w-]*)`", text)
        assert {name for names in named for name in names.split()} <= targets


def test_the_documents_name_every_key_of_the_root() -> None:
    for schema in (Settings, TrainerSettings, ArchitectureSettings):
        for key in fields(schema):
            assert f"`{key.name}`" in CONFIGURATION
    for group in groups():
        assert f"| `{group}` |" in CONFIGURATION
    for key in NOT_IDENTITY:
        assert f"`{key}`" in CONFIGURATION


def test_defaults_in_the_documents_are_those_of_the_configuration() -> None:
    config = compose([])
    rows = re.findall(r"^\| `(\w+)` \| ([\w.\[\]]+) \|", CONFIGURATION, re.M)
    assert len(rows) > 10
    for key, value in rows:
        nodes = [node for node in (config, config["trainer"], config["architecture"]) if key in node]
        assert yaml.safe_load(value) in [node[key] for node in nodes], key


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M) if anchor else []
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The snnhll authors"}]
