"""`pointsman drill` against an admin API that answers what is documented."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from console import app as main
from console import client, drilling

REPORT: dict[str, Any] = {
    "id": "d1", "endpoint": "rain", "version": "rain-2", "state": "faulty", "passed": False,
    "reason": "begun", "by": "operator", "fault": "flip", "share": 0.2, "served": True, "tripped": False,
    "cause": "",
    "requests": 0, "failed_requests": 0, "pairs": 0, "spoilt": 0, "spoilt_served": 0, "unaltered": 0,
    "began_at": "2026-01-02T03:04:05.000001+00:00", "first_bad_at": None, "breach_at": None, "trip_at": None,
    "last_bad_served_at": None, "confirmed_at": None, "recovery_ms": None, "after_detection_ms": None,
    "confirmed_ms": None, "limit_ms": 5000.0, "detection_pairs": None, "estimate": None, "tolerance": None,
    "evidence": None, "restored": True,
}  # fmt: skip
PASSED = {
    **REPORT, "state": "passed", "passed": True, "tripped": True, "cause": "guard:flips",
    "recovery_ms": 140.2, "reason": "recovered in 140 ms by guard:flips", "requests": 200,
    "spoilt": 9, "spoilt_served": 4,
    "first_bad_at": "2026-01-02T03:04:06.000001+00:00",
}  # fmt: skip
FAILED = {**REPORT, "state": "failed", "reason": "its time is over and nothing tripped\x1b[2J"}


class Admin:
    """Answers with each of `states` in turn, the last one for ever."""

    def __init__(self, *states: dict[str, Any] | int) -> None:
        self.states = list(states)
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, str(request.url.raw_path, "ascii"), body))
        if request.method == "POST":
            return httpx.Response(201, json=REPORT)
        if request.url.path == "/api/v1/drills":
            return httpx.Response(200, json={"drills": [PASSED, FAILED]})
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, int):
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json=state)


def run(monkeypatch: pytest.MonkeyPatch, admin: Admin, *arguments: str) -> Result:
    made = partial(client.AdminClient, transport=httpx.MockTransport(admin))
    monkeypatch.setattr(main, "AdminClient", made)
    monkeypatch.setattr(drilling, "awaited", partial(drilling.awaited, connect=made, look=0.0))
    return CliRunner().invoke(main.app, ["drill", *arguments])


def test_run_waits_for_the_end_and_exits_with_0_only_when_it_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(REPORT, REPORT, PASSED)
    result = run(monkeypatch, admin, "run", "rain", "--fault", "noise", "--as", "ada")
    assert result.exit_code == 0, result.stderr
    assert admin.asked[0] == ("POST", "/api/v1/drills", {"endpoint": "rain", "fault": "noise", "as": "ada"})
    assert "PASSED" in result.stdout
    assert "recovered in 140 ms" in result.stdout
    assert "last bad answer" in result.stdout


def test_run_exits_with_1_when_the_drill_failed_and_shows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Admin(FAILED), "run", "rain")
    assert result.exit_code == 1
    assert "nothing tripped" in result.stdout
    assert "\x1b" not in result.stdout


def test_json_prints_the_report_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Admin(PASSED), "run", "rain", "--json")
    assert json.loads(result.stdout) == PASSED
    assert run(monkeypatch, Admin(FAILED), "run", "rain", "--json").exit_code == 1


def test_a_control_process_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, Admin(0, 0, PASSED), "run", "rain").exit_code == 0


def test_one_that_stays_away_is_an_exit_of_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drilling, "GAP", 0.0)
    assert run(monkeypatch, Admin(0), "run", "rain").exit_code == 3


def test_list_shows_the_newest_drills(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(PASSED)
    result = run(monkeypatch, admin, "list", "rain")
    assert result.exit_code == 0, result.stderr
    assert admin.asked[0][1] == "/api/v1/drills?endpoint=rain"
    assert "140 ms" in result.stdout
    assert "failed" in result.stdout


def test_an_unknown_fault_is_a_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, Admin(PASSED), "run", "rain", "--fault", "flood").exit_code == 2
