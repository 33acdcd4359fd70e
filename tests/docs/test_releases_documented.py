"""docs/releases.md shows the machine that runs; the pipelines in the examples call commands that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from console.app import app
from gates.release import TRANSITIONS, Phase, Trigger, diagram
from gates.runner import gates_of
from settings.file import decode
from settings.gates import NAMES
from settings.parse import parse

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "releases.md").read_text("utf-8")
PIPELINES = sorted((ROOT / "examples" / "pipelines").rglob("*.y*ml"))
CALLED = re.compile(r"^\s*(?:run: )?pointsman (.+?)(?: \|.*)?$", re.MULTILINE)


def test_the_diagram_is_drawn_from_the_table() -> None:
    (drawn,) = re.findall(r"```mermaid\n(.*?)\n```", GUIDE, re.DOTALL)
    assert drawn == diagram(TRANSITIONS)


@pytest.mark.parametrize("word", [*Phase, *Trigger])
def test_every_phase_and_trigger_is_in_the_guide(word: str) -> None:
    assert str(word) in GUIDE


@pytest.mark.parametrize("name", [*NAMES, "custom"])
def test_every_gate_has_a_section(name: str) -> None:
    assert f"\n### {name.capitalize()}\n" in GUIDE


def test_the_configuration_in_the_guide_is_valid_and_has_every_gate() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    found = parse(decode(block.encode(), "docs/releases.md")).endpoints[0].gates
    assert {gate.name for gate in gates_of(found)} == {*NAMES, "fairness"}


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.parent.name)
def test_a_pipeline_is_yaml_and_its_commands_exist(path: Path) -> None:
    assert yaml.safe_load(path.read_text("utf-8"))
    commands = [line.split() for line in CALLED.findall(path.read_text("utf-8"))]
    assert ["gate", "run"] in [words[:2] for words in commands]
    for words in commands:
        command: Any = get_command(app)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, words
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options


def test_both_kinds_of_pipeline_are_there() -> None:
    steps = yaml.safe_load(PIPELINES[0].read_text("utf-8"))["jobs"]["gates"]["steps"]
    assert any("gate run" in step.get("run", "") for step in steps)
    (stage,) = yaml.safe_load(PIPELINES[1].read_text("utf-8"))["pipeline"]["stages"]
    steps = stage["stage"]["spec"]["execution"]["steps"]
    assert {step["step"]["type"] for step in steps} == {"Run"}
    assert "gate run" in steps[0]["step"]["spec"]["command"]


def test_nothing_in_the_guide_or_the_command_line_overrides_a_gate() -> None:
    group: Any = get_command(app)
    options = [
        option
        for name in ("gate", "release")
        for command in group.commands[name].commands.values()
        for parameter in command.params
        for option in parameter.opts
    ]
    assert not [option for option in options if re.search("skip|force|override|ignore", option)]
