"""The manual: every command has examples that it takes, exit codes, JSON for machines, and a man page."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from console.app import app
from console.manual import ENTRIES, pages

GROUP = get_command(app)
PROCESSES = {"serve"}
"""Commands that become a server, whose output is their log."""
FILES = {"audit export", "dashboards", "man", "help"}
"""Commands that write a format of their own."""


def leaves(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from leaves(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(leaves(GROUP))


def test_every_command_has_its_entry_and_no_entry_lacks_its_command() -> None:
    assert set(ENTRIES) == set(COMMANDS)


@pytest.mark.parametrize("words", sorted(ENTRIES))
def test_examples_are_command_lines_that_are_taken(words: str, tmp_path: Path) -> None:
    assert ENTRIES[words].examples
    for line, what in ENTRIES[words].examples:
        told = shlex.split(line.split(" | ", 1)[0])
        assert told[: 1 + len(words.split())] == ["pointsman", *words.split()]
        rest = told[1 + len(words.split()) :]
        for option in (one for one in rest if one.startswith("-")):
            assert any(option in one.opts for one in COMMANDS[words].params), line
        needed = [one for one in COMMANDS[words].params if one.param_type_name == "argument" and one.required]
        assert len(rest) >= len(needed), line
        assert what


@pytest.mark.parametrize("words", sorted(set(COMMANDS) - PROCESSES - FILES))
def test_every_command_speaks_json(words: str) -> None:
    assert any("--json" in one.opts for one in COMMANDS[words].params)


@pytest.mark.parametrize("words", ["status", "release start", "gate run", "token create"])
def test_help_ends_with_examples_and_exit_codes(words: str) -> None:
    asked = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "100"})
    same = CliRunner().invoke(app, ["help", *words.split()], env={"COLUMNS": "100"})
    assert asked.exit_code == same.exit_code == 0
    for shown in (asked.stdout, same.stdout):
        assert ENTRIES[words].examples[0][0] in shown
        assert "Exit status" in shown
    assert f"pointsman {words}" in re.sub(r"\s+", " ", asked.stdout)


def test_help_of_no_command_lists_them_and_of_an_unknown_one_names_the_nearest() -> None:
    assert "diagnose" in CliRunner().invoke(app, ["help"]).stdout
    assert "abort" in CliRunner().invoke(app, ["help", "release"]).stdout
    wrong = CliRunner().invoke(app, ["help", "release", "strat"], env={"COLUMNS": "200"})
    assert wrong.exit_code == 2
    assert "did you mean 'start'?" in wrong.stderr


def test_every_command_has_a_man_page(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["man", str(tmp_path / "man1")])
    assert done.exit_code == 0, done.stderr
    written = {one.name for one in (tmp_path / "man1").iterdir()}
    assert written == {"pointsman.1", *(f"pointsman-{words.replace(' ', '-')}.1" for words in COMMANDS)}
    page = (tmp_path / "man1" / "pointsman-gate-run.1").read_text("utf-8")
    sections = re.findall(r"^\.SH (.+)$", page, re.MULTILINE)
    assert sections == ["NAME", "SYNOPSIS", "DESCRIPTION", "ARGUMENTS", "OPTIONS", "EXAMPLES", "EXIT STATUS",
                        "ENVIRONMENT", "SEE ALSO"]  # fmt: skip
    assert "pointsman gate run rain \\-c pointsman.yaml" in page


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["man", str(tmp_path / "file" / "man1")])
    assert done.exit_code == 1
    assert "name another directory" in done.stderr


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_reads_the_pages_without_a_warning(tmp_path: Path) -> None:
    for name, page in pages(GROUP).items():
        done = subprocess.run(
            ["groff", "-man", "-ww", "-z", "-Kutf8"], input=page.encode(), capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b""), name
