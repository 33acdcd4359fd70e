"""What is told of an event: the same id from everybody, and no text that could do harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from notify import notice as notices
from notify.notice import LONGEST_TEXT, Notice, clean, decode, encode, wanted
from settings.receivers import Cause, Destination, Receiver, ReceiverKind, Topic

TRIP = {
    "endpoint": "rain",
    "kill": "k1",
    "version": "rain-2",
    "cause": "guard:flips",
    "actor": "guard:flips",
    "reason": "2 % of users",
    "at": "2026-01-01T00:00:00+00:00",
    "confirmed_ms": 1.5,
    "durable": True,
}
STEP = {
    "endpoint": "rain",
    "release": "r1",
    "phase": "halted",
    "stage": 0,
    "steps": 2,
    "candidate": "rain-2",
    "reason": "a gate FAIL",
    "trigger": "a gate FAIL",
}


def receiver(kind: ReceiverKind, *topics: Topic, endpoints: tuple[str, ...] = ()) -> Receiver:
    return Receiver(
        "one", kind, Destination("https://x.example/"), None, frozenset(topics), frozenset(endpoints)
    )


def test_whoever_tells_of_the_same_thing_makes_the_same_id() -> None:
    heard = {**TRIP, "heard": True, "confirmed_ms": None}
    assert notices.of_trip(TRIP, 1.0).id == notices.of_trip(heard, 99.0).id
    assert notices.of_trip(TRIP, 1.0).id != notices.of_trip({**TRIP, "kill": "k2"}, 1.0).id
    cleared = {"endpoint": "rain", "cleared": ["a", "b"], "reason": "fixed"}
    assert notices.of_rearm(cleared, 1.0).id == notices.of_rearm({**cleared, "cleared": ["b", "a"]}, 2.0).id
    assert notices.of_release(STEP, 1.0).id != notices.of_release({**STEP, "steps": 3}, 1.0).id


def test_two_parts_of_an_identity_never_run_together() -> None:
    assert notices.identity("a", "b") != notices.identity("a,b")
    assert notices.identity("a", "") != notices.identity("a")


@given(st.text(), st.text())
@options(deadline=None)
def test_no_text_of_a_stranger_steers_or_floods(reason: str, version: str) -> None:
    told = notices.of_trip({**TRIP, "reason": reason, "version": version}, 1.0)
    for text in (told.summary, str(told.facts["reason"]), str(told.facts["version"])):
        assert text.isprintable()
        assert len(text) <= 2 * LONGEST_TEXT + 100
    assert decode(encode(told)) == told


@given(st.text(max_size=3 * LONGEST_TEXT), st.integers(1, LONGEST_TEXT))
@options(deadline=None)
def test_a_cleaned_text_is_one_line_within_its_bound_and_stays_as_it_is(text: str, longest: int) -> None:
    once = clean(text, longest)
    assert len(once) <= longest
    assert clean(once, longest) == once


def test_a_halt_is_an_error_and_a_promotion_ends_it() -> None:
    halted = notices.of_release(STEP, 1.0)
    promoted = notices.of_release({**STEP, "phase": "promoted", "steps": 9}, 2.0)
    canary = notices.of_release({**STEP, "phase": "canary", "steps": 3}, 1.5)
    assert (halted.topic, halted.severity, halted.ends) == (Topic.HALT, "error", False)
    assert (promoted.topic, promoted.ends) == (Topic.STAGE, True)
    assert halted.concerns == promoted.concerns == ("release",)
    assert (canary.topic, canary.concerns) == (Topic.STAGE, ())


@pytest.mark.parametrize(
    ("opens", "ends", "topic"),
    [
        (
            notices.of_trip(TRIP, 1.0),
            notices.of_rearm({"endpoint": "rain", "cleared": ["k1"]}, 2.0),
            Topic.TRIP,
        ),
        (notices.of_release(STEP, 1.0), notices.of_release({**STEP, "phase": "done"}, 2.0), Topic.HALT),
        (
            notices.of_drill({"endpoint": "rain", "id": "d", "state": "failed"}, 1.0),
            notices.of_drill({"endpoint": "rain", "id": "e", "state": "passed"}, 2.0),
            Topic.DRILL,
        ),
        (
            notices.of_approval({"endpoint": "rain", "release": "r", "state": "wanted", "by": "plan"}, 1.0),
            notices.of_approval({"endpoint": "rain", "release": "r", "state": "given", "by": "ada"}, 2.0),
            Topic.APPROVAL,
        ),
    ],
)
def test_who_keeps_incidents_hears_of_their_end_and_of_no_other(
    opens: Notice, ends: Notice, topic: Topic
) -> None:
    duty = receiver(ReceiverKind.PAGERDUTY, topic)
    assert wanted(duty, opens)
    assert wanted(duty, ends)
    assert opens.concerns == ends.concerns
    others = receiver(ReceiverKind.PAGERDUTY, *(one for one in Topic if one is not topic))
    assert not wanted(others, ends)


def test_people_hear_of_drills_that_failed_only() -> None:
    passed = notices.of_drill({"endpoint": "rain", "id": "d", "state": "passed"}, 1.0)
    overdue = notices.of_drill({"endpoint": "rain", "id": "d", "state": "overdue"}, 1.0)
    assert [wanted(receiver(ReceiverKind.SLACK, *Topic), one) for one in (passed, overdue)] == [False, True]
    assert wanted(receiver(ReceiverKind.WEBHOOK, *Topic), passed)


def test_a_receiver_of_one_endpoint_hears_of_that_one_only() -> None:
    told = notices.of_trip(TRIP, 1.0)
    assert wanted(receiver(ReceiverKind.SLACK, Topic.TRIP, endpoints=("rain",)), told)
    assert not wanted(receiver(ReceiverKind.SLACK, Topic.TRIP, endpoints=("snow",)), told)


@pytest.mark.parametrize("data", [{}, {"endpoint": None}, {"cleared": 7}, {"weight": "x"}, {"stage": [1]}])
def test_an_event_that_lacks_something_is_told_all_the_same(data: dict[str, Any]) -> None:
    for one in (
        notices.of_trip(data, 1.0),
        notices.of_rearm(data, 1.0),
        notices.of_release(data, 1.0),
        notices.of_stage(data, 1.0, "t"),
        notices.of_drill(data, 1.0),
        notices.of_approval(data, 1.0),
    ):
        assert decode(encode(one)) == one


def test_a_training_of_another_period_is_another_one() -> None:
    first, second = (
        notices.of_retraining("rain", "v", Cause.DRIFT, "r", 1.0, claim) for claim in ("0 1", "0 2")
    )
    assert first.id != second.id
    assert first.urgent is False
    assert notices.of_trip(TRIP, 1.0).urgent is True
