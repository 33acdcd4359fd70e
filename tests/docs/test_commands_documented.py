"""Undocumented means red: every command and option stands in docs/commands.md, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from console.app import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "commands.md").read_text()
GROUP = get_command(app)
assert isinstance(GROUP, TyperGroup)
COMMANDS = set(GROUP.commands)


def test_every_command_has_a_heading_and_no_heading_lacks_its_command() -> None:
    assert set(re.findall(r"^## pointsman ([a-z-]+)", GUIDE, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_a_command_stands_in_its_section(name: str) -> None:
    section = GUIDE.split(f"## pointsman {name}", 1)[1].split("\n## ", 1)[0]
    options = {option for parameter in GROUP.commands[name].params for option in parameter.opts}
    for_all = {"--admin"}  # said once, above the commands
    named = {option for option in options - for_all if option.startswith("-")}
    assert named - set(re.findall(r"--?[a-z]+", section)) == set()


def test_the_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert not [name for name in COMMANDS if name not in shown]


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"`(?:\.venv/bin/)?pointsman ([a-z-]+)", text)) - COMMANDS == set()
