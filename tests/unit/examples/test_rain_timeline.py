"""What counts as a bad prediction, and the one JSON object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.rain.timeline import Ledger, Timeline, iso, join, seconds
from examples.rain.traffic import Answer

KEYS = [
    "tripped", "cause", "requests", "failed_requests", "pairs",
    "first_bad_at", "breach_at", "trip_at", "last_bad_served_at", "confirmed_at",
    "recovery_ms", "detection_pairs", "estimate", "tolerance", "evidence",
]  # fmt: skip


def answer(at: float, probability: float, arm: str = "candidate", day: int = 0) -> Answer:
    return Answer(at, day, arm, "rain-2", probability, 0.01)


def endpoint(**trip: Any) -> dict[str, Any]:
    return {
        "switch": {"tripped": True, "kills": []},
        "pairs": {"judged": 1500, "flips": 20},
        "last_trip": {
            "kill": "k", "cause": "guard:flips", "breach_at": iso(20.0), "trip_at": iso(20.01),
            "confirmed_at": iso(20.02), "detection_pairs": 41, "estimate": 0.23, "tolerance": 0.01,
            "evidence": 40000.0, "sentence": "flips 23 % against a limit of 1 %: 1 in 40 000",
        } | trip,
    }  # fmt: skip


def told() -> Timeline:
    ledger = Ledger([0.2])
    for at in (19.5, 20.3, 19.0):
        ledger.add(answer(at, 0.9))
    return join(endpoint(), ledger, 2000, {}, 18.9)


def test_only_a_candidates_answer_that_differs_from_the_healthy_candidates_is_bad() -> None:
    ledger = Ledger([0.2, 0.6])
    ledger.add(answer(1.0, 0.2))
    ledger.add(answer(2.0, 0.2000001))
    ledger.add(answer(3.0, 0.9, arm="incumbent"))
    assert (ledger.bad, ledger.first_bad_at) == (0, None)
    ledger.add(answer(4.0, 0.3))
    ledger.add(answer(5.0, 0.4, day=1))
    assert (ledger.bad, ledger.wrong) == (2, 1)
    assert (ledger.first_bad_at, ledger.last_bad_at) == (4.0, 5.0)


@settings(deadline=None)
@given(st.permutations([1.0, 2.0, 3.0, 4.0]))
def test_the_order_in_which_answers_arrive_changes_nothing(order: list[float]) -> None:
    ledger = Ledger([0.2])
    for at in order:
        ledger.add(answer(at, 0.9))
    assert (ledger.first_bad_at, ledger.last_bad_at) == (1.0, 4.0)


def test_the_document_has_the_documented_keys_and_the_recovery_time() -> None:
    document = told().document()
    assert list(document) == KEYS
    assert document["recovery_ms"] == 1300.0
    assert document["first_bad_at"] == "1970-01-01T00:00:19.000000+00:00"
    assert (document["tripped"], document["cause"], document["failed_requests"]) == (True, "guard:flips", 0)


def test_events_are_told_in_order() -> None:
    times = [at for at, _ in told().events()]
    assert times == sorted(times)
    assert len(times) == 6


@pytest.mark.parametrize(
    "change", [{"tripped": False}, {"failures": {"status 502": 1}}, {"cause": "operator"}, {"cause": ""}]
)
def test_success_is_a_guards_trip_without_a_failed_request(change: dict[str, Any]) -> None:
    assert told().succeeded
    assert not replace(told(), **change).succeeded


def test_without_a_trip_everything_is_said_to_be_unknown() -> None:
    untouched = endpoint() | {"last_trip": None, "switch": {"tripped": False, "kills": []}}
    document = join(untouched, Ledger([0.2]), 10, {"status 502": 1}, 18.9).document()
    assert list(document) == KEYS
    assert document["tripped"] is False
    assert document["failed_requests"] == 1
    assert all(document[key] is None for key in KEYS[5:])


@settings(deadline=None)
@given(st.floats(0, 4e9))
def test_instants_survive_the_json(at: float) -> None:
    there_and_back = seconds(iso(at))
    assert there_and_back is not None
    assert abs(there_and_back - at) < 2e-6
