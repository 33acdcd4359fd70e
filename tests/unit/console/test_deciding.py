"""`why` and `diagnose` on the command line: what they print, and what they never print."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from console import app as program
from console import client
from routing.hashing import bucket

DECISION: dict[str, Any] = {
    "request_id": "r-1", "endpoint": "rain", "at": "2026-03-01T14:30:00.000000+00:00", "arm": "candidate",
    "version": "rain-2", "reason": "inside the plan's weight", "status": 200, "latency_ms": 12.5,
    "generation": 7, "configuration": "abcd", "unit": "00000000000000ff", "drill": None,
    "lineage": {"commit": "4f1a", "datasets": [{"name": "weather", "version": "17", "digest": "sha256:aa"}]},
    "prediction": ["wet\u001b[2J"], "confidence": 0.9, "features": {"humidity": 0.4}, "cohorts": ["AT"],
    "input": {"digest": "ab" * 32, "text": None, "base64": None},
    "mirrored": {"version": "rain-1", "status": 200, "latency_ms": 9.0, "prediction": ["dry"],
                 "confidence": 0.6, "lineage": None},
    "live": {"release": "rain/rain-2", "mode": "canary", "weight": 0.25,
             "flag": {"name": "canary", "enabled": True, "digest": ""}, "switch": {"tripped": False}},
    "label": {"label": "dry", "at": "2026-03-02T00:00:00.000000+00:00"},
    "notes": ["no lineage of rain-1 was known then"], "bucket": "", "events": [],
}  # fmt: skip
DIAGNOSIS: dict[str, Any] = {
    "endpoint": "rain", "about": "2026-03-01T14:40:00.000000+00:00", "trip": None, "signal": "divergence",
    "requests": 1200, "changed_at": "2026-03-01T14:30:00.000000+00:00",
    "changed_from": "2026-03-01T14:29:58.000000+00:00", "changed_until": "2026-03-01T14:30:03.000000+00:00",
    "p": 1e-9, "before": {"since": "", "until": "", "values": 900, "mean": 0.04},
    "after": {"since": "", "until": "", "values": 300, "mean": 0.37}, "axis": "code",
    "explanations": [
        {"axis": "code", "kind": "configuration", "subject": "endpoints.rain.timeout",
         "sentence": "endpoints.rain.timeout: 2s → 20ms (operator\u202e)", "score": 0.91,
         "at": "2026-03-01T14:29:59.000000+00:00", "record": 41, "evidence": {}},
        {"axis": "data", "kind": "feature", "subject": "humidity", "sentence": "feature humidity moved",
         "score": 0.2, "at": None, "record": None, "evidence": {}},
    ],
    "concentrations": [{"place": "country=IT", "values": 80, "mean": 0.8, "rest": 0.1, "p": 0.0}],
    "changes": [{"at": "2026-03-01T14:29:59.000000+00:00", "axis": "code", "kind": "configuration",
                 "subject": "x", "sentence": "endpoints.rain.timeout: 2s → 20ms", "record": 41}],
    "notes": ["no labels have come"],
}  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program.app, list(arguments))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """What the admin API was asked; it knows one decision and one diagnosis."""
    found: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        found.append(request)
        if request.url.path == "/api/v1/decisions/r-1":
            return httpx.Response(200, json=DECISION)
        if request.url.path == "/api/v1/diagnoses/rain":
            return httpx.Response(200, json=DIAGNOSIS)
        problem = {"title": "Not Found", "status": 404, "detail": "there is no record of it"}
        return httpx.Response(404, json=problem)

    made = partial(client.AdminClient, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(program, "AdminClient", made)
    return found


def test_a_decision_is_told_with_version_lineage_and_what_was_really_true(asked: list[httpx.Request]) -> None:
    shown = run("why", "r-1")
    assert shown.exit_code == 0, shown.output
    for part in ("rain-2", "inside the plan's weight", "commit 4f1a", "weather 17 sha256:aa", "weight 25 %",
                 "flag canary on", "rain-1 said", "dry (known", "no lineage of rain-1"):  # fmt: skip
        assert part in shown.stdout
    assert "\x1b[2J" not in shown.stdout


def test_the_bucket_is_worked_out_here_and_the_unit_is_sent_nowhere(asked: list[httpx.Request]) -> None:
    shown = run("why", "r-1", "--unit", "ada@example.org")
    found = bucket("rain/rain-2", "ada@example.org")
    where = "inside" if found < 2500 else "outside"
    assert f"{found} of 10000: {where} the weight" in shown.stdout
    assert [one for one in asked if "ada" in str(one.url)] == []


def test_a_decision_that_nobody_knows_is_a_refusal(asked: list[httpx.Request]) -> None:
    shown = run("why", "r-2")
    assert shown.exit_code == 1
    assert "there is no record of it" in shown.stderr


def test_a_diagnosis_names_the_axis_first_and_shows_what_speaks_for_it(asked: list[httpx.Request]) -> None:
    shown = run("diagnose", "rain", "--at", "2026-03-01T14:40:00Z", "--signal", "divergence")
    assert shown.exit_code == 0, shown.output
    first = shown.stdout.splitlines()[0]
    assert "divergence changed from 0.04 to 0.37" in first
    assert first.endswith("CODE")
    for part in ("0.91", "41", "feature humidity moved", "concentrates in country=IT", "no labels have come"):
        assert part in shown.stdout
    assert "\u202e" not in shown.stdout
    assert dict(asked[0].url.params) == {"at": "2026-03-01T14:40:00Z", "signal": "divergence"}


def test_without_a_change_nothing_is_blamed(
    asked: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {"changed_at": None, "axis": None, "explanations": [], "concentrations": []}.items():
        monkeypatch.setitem(DIAGNOSIS, key, value)
    shown = run("diagnose", "rain")
    assert "divergence has not changed" in shown.stdout
    assert "CODE" not in shown.stdout
    assert asked[0].url.params == httpx.QueryParams()
