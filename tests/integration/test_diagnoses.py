"""Diagnosis through everything: a real chain with real reloads, real labels, a real log, and the route."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import Here
from tests.support.decisions import Hand, deciding, logged, reconfigured, record
from tests.support.scenarios import BEGIN, SPAN, Scenario, played

CHANGED: dict[str, dict[str, Any]] = {
    "bad retraining": {"candidate": {"version": "rain-3", "urls": ["http://127.0.0.1:9003"]}},
    "configuration slip: address": {"candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9099"]}},
    "configuration slip: timeout": {"timeout": "12ms"},
}
SUBJECTS = {
    "bad retraining": "rain-3",
    "configuration slip: address": "endpoints.rain.candidate.urls",
    "configuration slip: timeout": "endpoints.rain.timeout",
    "feature pipeline": "humidity",
    "upstream outage: feed": "humidity",
}
"""What the answer names, where there is something to name."""


async def lived(control: Here, folder: Path, hand: Hand, told: Scenario, name: str) -> None:
    """The scenario happens: requests are answered, labelled, and in the middle of it something changes."""
    hand.at = told.requests[200].at
    await reconfigured(control, folder, guards={"flips": {"rate": "2%"}})
    hand.at = told.at
    await reconfigured(control, folder, guards={"flips": {"rate": "2%"}}, **CHANGED.get(name, {}))
    logged(folder, [record(number, one) for number, one in enumerate(told.requests)])
    hand.at = told.requests[-1].at + 60
    labels = [
        {"request_id": f"r{number}", "label": one.labels[0]} for number, one in enumerate(told.requests)
    ]
    answer = await control.client.post("/api/v1/labels", json=labels)
    assert answer.status_code == 200, answer.text


async def diagnosis(control: Here, **query: str) -> dict[str, Any]:
    answer = await control.client.get("/api/v1/diagnoses/rain", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    "name", ["feature pipeline", "concept drift", "bad retraining", "configuration slip: address",
             "configuration slip: timeout", "upstream outage: servers", "upstream outage: feed", "nothing"],
)  # fmt: skip
def test_the_axis_that_broke_is_named(name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        told = played(name, 7, 1500)
        hand = Hand(BEGIN - 600)
        async with deciding(tmp_path, hand) as control:
            await lived(control, tmp_path, hand, told, name)
            found = await diagnosis(control)
            if told.axis is None:
                assert found["changed_at"] is None
                assert found["explanations"] == []
                assert "no signal has changed" in " ".join(found["notes"])
                assert [one["subject"] for one in found["changes"]] == ["endpoints.rain.guards.flips.rate"]
                return
            assert found["axis"] == told.axis.value, found["explanations"]
            first = found["explanations"][0]
            assert first["subject"] == SUBJECTS.get(name, first["subject"])
            assert found["changed_from"] <= found["changed_at"] <= found["changed_until"]
            if name in CHANGED:
                event = (
                    await control.client.get(f"/api/v1/audit?after={first['record'] - 1}&limit=1")
                ).json()
                assert event["events"][0]["at"] == first["at"]

    asyncio.run(scenario())


def test_by_itself_the_last_trip_is_explained_by_what_its_guard_watches(tmp_path: Path) -> None:
    async def scenario() -> None:
        told = played("bad retraining", 3, 1500)
        hand = Hand(BEGIN - 600)
        async with deciding(tmp_path, hand) as control:
            await lived(control, tmp_path, hand, told, "bad retraining")
            report = control.control.switchboard.judge("rain").reports()[0]
            control.control.switchboard.breached("rain", report)
            await control.until(lambda: control.control.recorder.waiting == 0)
            tripped = hand.at
            hand.at += 3600
            found = await diagnosis(control)
            assert found["trip"]["cause"] == "guard:flips"
            assert found["signal"] == "divergence"
            assert found["axis"] == "model"
            assert found["explanations"][0]["subject"] == "rain-3"
            assert found["about"] == found["trip"]["at"]
            assert abs(tripped - told.requests[-1].at) < 120

    asyncio.run(scenario())


def test_without_a_log_what_was_recorded_is_told_and_nothing_is_made_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(BEGIN)
        async with deciding(tmp_path, hand) as control:
            hand.at = BEGIN + 30
            await reconfigured(control, tmp_path, timeout="3s")
            hand.at = BEGIN + SPAN
            found = await diagnosis(control)
            assert (found["axis"], found["explanations"], found["requests"]) == (None, [], 0)
            assert "no requests of that time" in found["notes"][0]
            (change,) = found["changes"]
            assert change["sentence"] == "endpoints.rain.timeout: 200ms → 3s (operator)"
            assert change["axis"] == "code"

    asyncio.run(scenario())


def test_a_wrong_question_is_refused_with_what_may_be_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deciding(tmp_path, Hand(BEGIN)) as control:
            base = "/api/v1/diagnoses/rain"
            for query, status, said in (
                ({"at": "yesterday"}, 422, "ISO 8601"),
                ({"at": "2026-03-01T14:30:00"}, 422, "offset"),
                ({"at": "2999-01-01T00:00:00Z"}, 422, "nobody knows yet"),
                ({"signal": "mood"}, 422, "divergence"),
            ):
                answer = await control.client.get(base, params=query)
                assert (answer.status_code, said in answer.text) == (status, True), answer.text
            answer = await control.client.get("/api/v1/diagnoses/wind")
            assert (answer.status_code, "rain" in answer.json()["detail"]) == (404, True)

    asyncio.run(scenario())
