"""What a run of the scenario `statistics` measured, as the page and the picture show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.statistics import chart, document
from bench.statistics.delays import EXACT, MANN_WHITNEY, NORMAL, POINTSMAN, RATES, WINDOWS, window_name


def contest(median: float) -> dict[str, Any]:
    late = {str(rate): {"median": median, "late": 2 * median, "false_before": 0.0} for rate in RATES}
    return {"start": late, "late": late, "false_alarms": 0.0005}


@pytest.fixture
def raw() -> Mapping[str, Any]:
    names = (POINTSMAN, MANN_WHITNEY, NORMAL, EXACT)
    found: dict[str, Any] = {name: contest(100.0 + at) for at, name in enumerate(names)}
    found |= {window_name(width): contest(50.0 if width == 400 else float("inf")) for width in WINDOWS}
    found["false alarms"] = {"flips": {"streams": 10, "pairs": 1000, "0.05": 0.02, "0.01": 0.0, "0.001": 0.0}}
    found["bimodal"] = {"by_flips": 1.0, "by_mean": 0.0, "median": 850.0}
    kept: Mapping[str, Any] = json.loads(json.dumps(found))
    return kept


def test_the_tables_hold_medians_the_best_window_and_what_is_never_caught(raw: Mapping[str, Any]) -> None:
    text = document.figures(raw)
    row = next(line for line in text.splitlines() if line.startswith("| 5%"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "5%", "167", "**100** (200)", "never", "50", "101", "102", "103",
    ]  # fmt: skip
    assert "| flips " in text
    assert "2.00%" in text
    assert "850 pairs" in text


def test_the_page_has_room_for_the_figures() -> None:
    page = document.PAGE.read_text()
    assert page.count(document.BEGIN) == page.count(document.END) == 1
    assert page.index(document.BEGIN) < page.index(document.END)


def test_the_picture_leaves_out_what_is_never_caught_and_is_the_same_each_time(
    raw: Mapping[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs the extra `bench`")
    assert chart.lines(raw)["window of 100, late"] == ([], [])
    for name in ("one.svg", "two.svg"):
        chart.draw(raw, tmp_path / name)
    one = (tmp_path / "one.svg").read_bytes()
    assert one.startswith(b"<?xml")
    assert one == (tmp_path / "two.svg").read_bytes()
