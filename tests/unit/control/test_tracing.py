"""Sending spans: bounded, counted, and in nobody's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any

from control import tracing
from control.tracing import Tracer
from domain.observation import Observation, Outcome
from monitoring.log.wire import Context, Entry, Section
from settings.schema import CompareSettings
from settings.sinks import TracingSettings

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMPARE = asdict(CompareSettings("regression"))
TRACED = json.dumps({"protocol": "json", "compare": COMPARE, "traced": True}).encode()
UNTRACED = json.dumps({"protocol": "json", "compare": COMPARE}).encode()
SETTINGS = TracingSettings("http://collector", 0)


class Result(Enum):
    SUCCESS = 0
    FAILURE = 1


class Exporter:
    """Answers as it is told to, once it may."""

    def __init__(self, answer: Callable[[], Result] = lambda: Result.SUCCESS) -> None:
        self.answer = answer
        self.may = threading.Event()
        self.may.set()
        self.exported: list[Any] = []
        self.is_shut = False

    def export(self, spans: Sequence[Any], /) -> Result:
        self.may.wait(20)
        result = self.answer()
        if result is Result.SUCCESS:
            self.exported += spans
        return result

    def shutdown(self) -> None:
        self.is_shut = True


def section(count: int, reading: bytes = TRACED, trace: str = SAMPLED) -> Section:
    entries = [
        Entry(b"id-%d" % n, 1000.0, "u", False, 200, 0.5, "shadow stage", b"", "", b"", "", (trace,), None)
        for n in range(count)
    ]
    return Section(Context("rain", 7, "c" * 64, "rain-1", "", "", reading), entries)


def test_a_sampled_request_is_sent_with_its_parent_and_the_service_s_name() -> None:
    exporter = Exporter()
    tracer = Tracer(SETTINGS, exporter)
    tracer.offer(section(2))
    tracer.close(20.0)
    assert tracer.counts() == {"sent": 4}
    assert exporter.is_shut
    root, answer = exporter.exported[:2]
    assert f"{root.context.trace_id:032x}" == SAMPLED.split("-")[1]
    assert f"{root.parent.span_id:016x}" == SAMPLED.split("-")[2]
    assert answer.parent.span_id == root.context.span_id
    assert root.resource.attributes["service.name"] == "pointsman"
    assert root.end_time - root.start_time == 500_000_000


def test_endpoints_that_are_not_traced_and_traces_that_are_not_sampled_send_nothing() -> None:
    exporter = Exporter()
    tracer = Tracer(SETTINGS, exporter)
    tracer.offer(section(3, UNTRACED))
    tracer.offer(section(3, b"nobody can read this"))
    tracer.offer(section(3, trace=SAMPLED[:-1] + "0"))
    tracer.close(20.0)
    assert (tracer.counts(), exporter.exported) == ({}, [])


def test_what_the_collector_does_not_take_is_counted_and_the_next_is_sent() -> None:
    answers = iter([Result.FAILURE, ConnectionError("gone"), Result.SUCCESS])

    def answer() -> Result:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    exporter = Exporter(answer)
    tracer = Tracer(SETTINGS, exporter)
    tracing_at_once = tracing.AT_ONCE
    for _ in range(3):
        tracer.offer(section(tracing_at_once))
    tracer.close(20.0)
    assert tracer.counts() == {"failed": 4 * tracing_at_once, "sent": 2 * tracing_at_once}


def test_what_finds_no_room_is_counted_and_nobody_waits() -> None:
    exporter = Exporter()
    exporter.may.clear()
    tracer = Tracer(SETTINGS, exporter)
    tracer.offer(section(tracing.AT_ONCE))
    while tracer._waiting:  # until the thread has taken them, and is stuck
        threading.Event().wait(0.001)
    tracer.offer(section(tracing.MOST_WAITING + 5))
    assert tracer.counts() == {"dropped": 5}
    exporter.may.set()
    tracer.close(20.0)
    assert tracer.counts()["sent"] == 2 * (tracing.AT_ONCE + tracing.MOST_WAITING)


def test_requests_wait_without_their_bodies() -> None:
    exporter = Exporter()
    exporter.may.clear()
    tracer = Tracer(SETTINGS, exporter)
    other = Observation("rain-2", Outcome.ANSWERED, 200, 0.5, b"x" * 1000)
    given = section(1)
    long = given.entries[0]._replace(request=b"x" * 1000, answer=b"x" * 1000, mirrored=other)
    try:
        for _ in range(2):  # the first may be under way
            tracer.offer(Section(given.context, [long] * 300))
        waiting = [entry for _, entry in tracer._waiting]
        assert waiting
        assert all(one.request is None and one.answer is None for one in waiting)
        assert all(one.mirrored is not None and one.mirrored.body == b"" for one in waiting)
    finally:
        exporter.may.set()
        tracer.close(20)
    assert tracer.counts() == {"sent": 1800}
