"""Small parts of the control process, each by itself."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control import records
from control.configuration import masked
from control.events import LONGEST_BACKLOG, MOST_LISTENERS, Crowded, Events
from control.generations import BLOCK, Generations
from control.log import JsonLines, note
from control.showcase import LONGEST_BODY, MOST, Measure, Showcase
from control.tallies import MOST_CLASSES, MOST_REASONS, Histogram, Tallies
from control.trip import Trip
from domain.observation import Divergence, Observation, Outcome
from killswitch.signals import JudgedPair
from shadow.wire import LATENCY_BOUNDS, MirrorCounts, RequestCounts
from tests.support.control import batch, pair


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 10**6))))
def test_generations_never_fall_and_never_repeat(hellos: list[int | None]) -> None:
    generations, stored, seen = Generations(), 1, [0]
    for hello in hellos:
        if hello is None:
            seen.append(generations.next())
        else:
            generations.above(hello)
        count = generations.wanting
        if count:
            generations.block(stored, count)
            stored += count
        assert generations.wanting <= BLOCK
    assert seen == sorted(set(seen))


def test_a_listener_that_does_not_read_is_let_go_and_others_hear_on() -> None:
    async def scenario() -> None:
        events = Events()
        slow, fast = events.listen(), events.listen()
        for number in range(LONGEST_BACKLOG + 1):
            events.tell("stage", {"n": number})
            event = await fast.next(1)
            assert event is not None
            assert event.data["n"] == number
        assert len(events) == 1
        for _ in range(LONGEST_BACKLOG):
            assert await slow.next(1) is not None
        assert slow.ended
        events.close()
        assert fast.ended

    asyncio.run(scenario())


def test_listeners_are_bounded() -> None:
    async def scenario() -> None:
        events = Events()
        listeners = [events.listen() for _ in range(MOST_LISTENERS)]
        with pytest.raises(Crowded):
            events.listen()
        events.leave(listeners[0])
        events.listen()

    asyncio.run(scenario())


def test_a_log_record_is_one_line_whatever_it_holds() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    note(logger, logging.INFO, "kill", reason='x\n{"event":"forged"}\r\x1b[31m', long="y" * 10_000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert told["event"] == "kill"
    assert told["reason"].startswith("x\n")
    assert len(told["long"]) < 5_000


def test_secrets_are_masked_wherever_they_stand() -> None:
    shown = masked(
        {
            "state": {"redis": "redis://user:hunter2@host/0"},
            "list": [{"api_key": "k", "token": "t"}, "https://a:b@c/d"],
            "token_env": "NAME",
            "path": "/user@home",
        }
    )
    assert shown == {
        "state": {"redis": "redis://***@host/0"},
        "list": [{"api_key": "***", "token": "***"}, "https://***@c/d"],
        "token_env": "NAME",
        "path": "/user@home",
    }


def judged(number: int, score: float | None, body: bytes = b"{}") -> JudgedPair:
    one = pair(number)
    one = pair(number, candidate=one.candidate.__class__("rain-2", one.candidate.outcome, 200, 0.1, body))
    return JudgedPair(one, None if score is None else Divergence(score, score > 0.5, "r"), None)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=500))
def test_the_showcase_is_bounded_and_holds_the_worst(scores: list[float | None]) -> None:
    showcase = Showcase()
    for number, score in enumerate(scores):
        showcase.put([judged(number, score)])
    worst = [shown.score for shown in showcase.worst(MOST)]
    assert worst == sorted((score for score in scores if score), reverse=True)[:MOST]
    latest = [shown.judged.pair.request_id for shown in showcase.latest(MOST)]
    assert latest == [f"r{number}" for number in reversed(range(len(scores)))][:MOST]


def test_the_worst_pairs_are_those_that_a_guard_is_about() -> None:
    showcase = Showcase()
    fine, slow = pair(1), pair(2)
    slow = slow._replace(candidate=slow.candidate._replace(latency=9.0))
    dead = pair(3, candidate=Observation("rain-2", Outcome.CONNECT, 0, 99.0, b""))
    both = pair(4, incumbent=Observation("rain-1", Outcome.CONNECT, 0, 0.0, b""), candidate=dead.candidate)
    left = pair(5, candidate=Observation("rain-2", Outcome.ABANDONED, 0, 99.0, b""))
    late = pair(6, candidate=Observation("rain-2", Outcome.TIMEOUT, 0, 0.2, b""))
    unsure = Divergence(0.1, False, "r", 0.9, 0.2)
    showcase.put(
        [JudgedPair(fine, Divergence(0.5, False, "r", 0.9, 0.9), None), JudgedPair(slow, unsure, None)]
    )
    showcase.put([JudgedPair(one, None, None) for one in (dead, both, left, late)])

    def worst(measure: Measure) -> list[str]:
        return [shown.judged.pair.request_id for shown in showcase.worst(9, measure)]

    assert worst(Measure.DIVERGENCE) == ["r1", "r2"]
    assert worst(Measure.ERRORS) == ["r6", "r3"]
    assert worst(Measure.LATENCY)[:2] == ["r2", "r6"]
    assert not {"r3", "r4", "r5"} & set(worst(Measure.LATENCY)), "they do not say how fast the arm is"
    assert worst(Measure.CONFIDENCE) == ["r2"]


def test_shown_bodies_are_cut() -> None:
    showcase = Showcase()
    showcase.put([judged(1, 0.9, b"x" * (LONGEST_BODY + 1))])
    (shown,) = showcase.latest(5)
    assert len(shown.judged.pair.candidate.body) == LONGEST_BODY
    assert shown.candidate_length == LONGEST_BODY + 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_every_value_at_the_first_bound_that_holds_it(values: list[float]) -> None:
    histogram = Histogram((0.5, 1.0, 10.0))
    for value in values:
        histogram.add(value)
    assert histogram.counts == [
        sum(value <= 0.5 for value in values),
        sum(0.5 < value <= 1.0 for value in values),
        sum(1.0 < value <= 10.0 for value in values),
        sum(value > 10.0 for value in values),
    ]


def test_labels_are_bounded_whatever_workers_and_models_send() -> None:
    tallies = Tallies()
    tallies.know("rain", ("rain-1", "rain-2"))
    buckets = [0] * (len(LATENCY_BOUNDS) + 1)
    requests = [
        RequestCounts("rain", "rain-1", "incumbent", 200, 3, buckets, 0.0),
        RequestCounts("snow", "rain-1", "incumbent", 200, 1, buckets, 0.0),
        RequestCounts("rain", "rain-9", "incumbent", 200, 1, buckets, 0.0),
        RequestCounts("rain", "rain-1", "sideways", 99_999, 1, buckets, 0.0),
    ]
    dropped = {f"reason {number}": 1 for number in range(1000)}
    mirrors = [
        MirrorCounts("rain", "paired", 2),
        MirrorCounts("rain", "eaten", 1),
        MirrorCounts("snow", "paired", 1),
    ]
    tallies.batch(batch(1, [], requests=requests, mirrors=mirrors, dropped=dropped))
    assert dict(tallies.requests) == {
        ("rain", "rain-1", "incumbent", "200"): 3,
        ("rain", "rain-1", "none", "0"): 1,
    }
    assert dict(tallies.mirrors) == {("rain", "paired"): 2}
    assert len(tallies.dropped) <= MOST_REASONS + 1
    for number in range(3 * MOST_CLASSES):
        found = Divergence(0.1, False, "", candidate_label=f"class {number}")
        tallies.judged("rain", [JudgedPair(pair(number), found, None)])
    assert len(tallies.predictions) == MOST_CLASSES + 1
    assert tallies.predictions["rain", "rain-2", "other"] == 2 * MOST_CLASSES


def test_a_record_is_read_as_it_was_written_and_nonsense_is_refused() -> None:
    trip = Trip("k", "guard:flips", "r", "rain-2", 7, 1.0, 2.0)
    record = records.EndpointRecord("rain/rain-2", "rain-1", 1, 2, 3.0, 4, 5, b"g", (1, 2, 3, 4), trip)
    assert records.decode(records.encode(record)) == record
    for nonsense in (b"", b"\xc1", b"{}", msgspec.msgpack.encode({"release": 1})):
        with pytest.raises(ValueError, match="cannot be read"):
            records.decode(nonsense)


def test_the_last_answer_served_only_moves_forward() -> None:
    trip = Trip("k", "guard:flips", "r", "rain-2", 7, 10.0, 10.0, first_bad_at=8.0)
    assert trip.recovery is None
    assert trip.served(9.0).served(8.5).last_bad_served_at == 9.0
    assert trip.served(9.0).recovery == 1.0
    assert trip.served(7.0).recovery == 0.0
