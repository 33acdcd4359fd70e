"""The boards as Grafana gets them, and the command that writes them."""

from __future__ import annotations

import importlib.util
import json
import re
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from console.app import app
from monitoring.dashboards.boards import BOARDS
from monitoring.dashboards.rendering import text

ROOT = Path(__file__).parents[3]
DRAWN: list[dict[str, Any]] = [json.loads(text(board)) for board in BOARDS]
METRICS = (ROOT / "docs" / "metrics.md").read_text()
RULES = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
MODELS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""What model servers tell of themselves."""


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_command_writes_every_board_and_replaces_what_it_wrote_before(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    for _ in range(2):
        done = CliRunner().invoke(app, ["dashboards", str(folder)])
        assert done.exit_code == 0, done.output
        assert done.stdout.split() == [str(folder / f"{board.name}.json") for board in BOARDS]
    assert [json.loads((folder / f"{board.name}.json").read_text()) for board in BOARDS] == DRAWN


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["dashboards", str(tmp_path / "file" / "below")])
    assert done.exit_code == 1
    assert "name another directory" in done.stderr
    assert "Traceback" not in done.output


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "grafana_foundation_sdk" else there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    done = CliRunner().invoke(app, ["dashboards", str(tmp_path)])
    assert done.exit_code == 1
    assert "pip install 'pointsman[dashboards]'" in done.stderr


@pytest.mark.parametrize("board", DRAWN, ids=lambda board: str(board["uid"]))
def test_panels_have_a_place_of_their_own_and_say_what_they_show(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels(board):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        covered = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not covered & taken, panel["title"]
        taken |= covered
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}


def test_every_query_asks_for_metrics_that_exist() -> None:
    exposed = set(re.findall(r"^\| `(pointsman_\w+)`", METRICS, re.MULTILINE))
    exposed |= {f"{name}_{suffix}" for name in exposed for suffix in ("bucket", "sum", "count")}
    known = exposed | set(re.findall(r"record: (\S+)", RULES)) | MODELS
    for board in DRAWN:
        for panel in panels(board):
            for target in panel["targets"]:
                asked = set(re.findall(r"\b(?:pointsman|process)[_:][\w:]+", target["expr"]))
                assert asked, target["expr"]
                assert asked <= known, target["expr"]


def test_boards_that_ask_for_an_endpoint_offer_the_choice() -> None:
    for board in DRAWN:
        uses = "$endpoint" in json.dumps(board["panels"])
        offered = {variable["name"] for variable in board["templating"]["list"]}
        assert offered == ({"source", "endpoint"} if uses else {"source"}), board["uid"]
