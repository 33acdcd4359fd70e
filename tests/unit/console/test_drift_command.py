"""`pointsman drift`: what people read, and the exit code."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from console import app as main
from console import drifting
from console.app import app

COLUMN: dict[str, Any] = {
    "name": "hum\x1b[31midity", "of": "feature", "kind": "number", "rows": 900, "shift": 0.31,
    "shift_low": 0.27, "shift_high": 0.33, "missing": 0.02, "stability_index": 0.62, "moved": 1.4,
    "retyped": 3, "below": 0, "above": 12, "new_categories": [{"value": "fog", "rows": 4}],
    "cells": [{"cell": "≤ 31", "reference": 0.1, "share": 0.4}], "prior_week": {"shift": 0.29, "rows": 800},
}  # fmt: skip
SLICE = {
    "by": "header:x-country",
    "value": "pt",
    "rows": 90,
    "p50": 0.02,
    "p95": 0.06,
    "p99": 0.09,
    "slow": True,
}
WATCHING: dict[str, Any] = {
    "endpoint": "rain", "condition": "watching", "problem": None, "learning": None,
    "reference": {"origin": "file a.csv", "digest": "9f", "adopted_at": "2026-03-01", "rows": 5000},
    "alarm": {"verdict": "fail", "sentence": "feature humidity: drifted by 31 %", "since": "2026-03-02"},
    "window": {"hours": 24, "rows": 900}, "columns": [COLUMN], "unknown_features": {"height": 7},
    "latency": {"all": {"rows": 900, "p50": 0.004, "p95": 0.01, "p99": 0.03}, "slices": [SLICE]},
}  # fmt: skip
LEARNING: dict[str, Any] = {
    "endpoint": "rain", "condition": "learning", "columns": [],
    "learning": {"requests": 40, "needed": 1000, "not_before": "2026-03-01T15:00"},
}  # fmt: skip


def printed(answer: dict[str, Any]) -> str:
    out = io.StringIO()
    view = msgspec.convert(answer, drifting.DriftView)
    Console(file=out, width=200, color_system=None).print(drifting.told(view))
    return out.getvalue()


def test_everything_that_moved_is_told_and_nothing_steers_the_terminal() -> None:
    shown = printed(WATCHING)
    for word in (
        "900 requests of 24 h against file a.csv", "fail: feature humidity", "31.0%", "27.0%", "0.620",
        "1.40 σ", "29.0%", "3 of another type", "12 above", "new: fog", "≤ 31: 10% → 40%", "height",
        "x-country pt", "slow",
    ):  # fmt: skip
        assert word in shown, word
    assert "\x1b" not in shown


def test_what_is_still_learned_says_how_far_it_is() -> None:
    assert "learning from 40 of 1000 requests, not before 2026-03-01T15:00" in printed(LEARNING)
    assert printed({"endpoint": "rain", "condition": "off", "problem": "the log is off"}).startswith(
        "rain: off"
    )


@pytest.mark.parametrize(
    ("arguments", "answer", "code"),
    [
        (["rain"], WATCHING, 1),
        (["rain", "--json"], WATCHING, 1),
        (["rain"], LEARNING, 0),
        (["rain", "--relearn", "--reason", "new"], LEARNING, 0),
        (["rain", "--relearn"], LEARNING, 2),
        (["rain", "--reason", "new"], LEARNING, 2),
        (["rain", "--hours", "0"], LEARNING, 2),
    ],
)
def test_the_exit_code_says_whether_it_drifted(
    arguments: list[str], answer: dict[str, Any], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "_ask", lambda *_asked, **_more: answer)
    assert CliRunner().invoke(app, ["drift", *arguments]).exit_code == code
