"""What a worker keeps for the log: in bounds, in order, until it is acknowledged, and never silently lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.routing import FULL_WEIGHT, Upstream, Version
from domain.snapshot import Endpoint, Recording
from gateway.records import FACTS_SIZE, LATE, MOST_IN_BATCH, MOST_ON_THE_WAY, RESERVED, Recorder, RecordOutbox
from monitoring.log.wire import Records, decode_to_log

ROOM = 10_000


def _recorder(outbox: RecordOutbox, name: str = "rain", *, required: bool = False) -> Recorder:
    version = Version("rain-1", (Upstream("127.0.0.1", 1),))
    recording = Recording(FULL_WEIGHT, required, b"{}")
    return Recorder(outbox, Endpoint(name, f"/{name}", version, record=recording), 7, "digest")


def _outbox(room: int = ROOM) -> RecordOutbox:
    return RecordOutbox("session", 0.0, RESERVED + room)


def _add(recorder: Recorder, number: int, size: int = 10) -> None:
    entry: tuple[Any, ...] = (
        b"%d" % number, 1.0, "u", False, 200, 0.5, "shadow stage", b"x" * size, "", b"", "", (), None,
    )  # fmt: skip
    recorder.outbox.add(recorder, entry, size)


def _read(frame: bytes) -> Records:
    message = decode_to_log(frame[4:])
    assert isinstance(message, Records)
    return message


def _ids(batch: Records) -> list[int]:
    return [int(entry.request_id) for section in batch.sections for entry in section.entries]


def test_what_was_added_travels_once_with_what_its_endpoint_is() -> None:
    outbox = _outbox()
    rain, hail = _recorder(outbox), _recorder(outbox, "hail")
    for number in range(4):
        _add((rain, hail)[number % 2], number)
    batch = _read(outbox.cut())
    assert [(one.context.endpoint, len(one.entries)) for one in batch.sections] == [("rain", 2), ("hail", 2)]
    assert (batch.session, batch.sequence, batch.sections[0].context.generation) == ("session", 1, 7)
    assert not outbox.pending


def test_what_is_not_acknowledged_is_sent_again_in_order() -> None:
    outbox = _outbox()
    rain = _recorder(outbox)
    for number in range(3):
        _add(rain, number)
        outbox.cut()
    outbox.acknowledge(1, 0.0)
    assert [_ids(_read(data)) for data in outbox.resend()] == [[1], [2]]
    outbox.acknowledge(3, 0.0)
    assert outbox.resend() == []
    assert outbox.size == 0


def test_over_its_bound_new_ones_are_dropped_and_counted_with_the_next_batch() -> None:
    outbox = _outbox(10 * (FACTS_SIZE + 11))
    rain = _recorder(outbox)
    for number in range(15):
        _add(rain, number)
    batch = _read(outbox.cut())
    assert _ids(batch) == list(range(10))
    assert [(one.endpoint, one.reason, one.count) for one in batch.dropped] == [("rain", "full", 5)]
    outbox.acknowledge(1, 0.0)
    _add(rain, 99)
    assert _ids(_read(outbox.cut())) == [99]


def test_one_whose_record_is_required_is_never_dropped_and_refused_before_there_is_no_room() -> None:
    outbox = _outbox(0)
    rain = _recorder(outbox, required=True)
    _add(rain, 1)
    assert not outbox.refuses
    _add(rain, 2, RESERVED // 2)
    assert outbox.refuses
    _add(rain, 3, RESERVED)
    assert [number for data in _all(outbox) for number in _ids(_read(data))] == [1, 2, 3]


def test_required_records_are_refused_while_nothing_is_acknowledged_and_no_longer() -> None:
    outbox = _outbox()
    rain = _recorder(outbox, required=True)
    outbox.look(LATE + 1, connected=True)
    assert not outbox.refuses, "nothing waits, and there is a connection"
    _add(rain, 1)
    outbox.cut()
    outbox.look(2 * LATE, connected=True)
    assert not outbox.refuses
    outbox.look(2 * LATE + 2, connected=True)
    assert outbox.refuses
    outbox.acknowledge(1, 2 * LATE + 3)
    outbox.look(2 * LATE + 3, connected=True)
    assert not outbox.refuses


def test_required_records_are_refused_when_there_is_no_connection_for_long() -> None:
    outbox = _outbox()
    outbox.look(LATE - 1, connected=False)
    assert not outbox.refuses
    outbox.look(LATE + 1, connected=False)
    assert outbox.refuses
    outbox.look(LATE + 2, connected=True)
    assert not outbox.refuses


def test_no_more_batches_are_on_the_way_than_are_allowed() -> None:
    outbox = _outbox(10 * ROOM)
    rain = _recorder(outbox)
    for number in range(MOST_ON_THE_WAY):
        assert outbox.room
        _add(rain, number)
        outbox.cut()
    assert not outbox.room


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, MOST_IN_BATCH)), max_size=12))
@settings(deadline=None, max_examples=50)
def test_each_endpoint_s_records_come_in_order_whatever_their_sizes(made: list[tuple[int, int]]) -> None:
    outbox = _outbox(100 * MOST_IN_BATCH)
    recorders = [_recorder(outbox, name) for name in ("rain", "hail", "snow")]
    for number, (place, size) in enumerate(made):
        _add(recorders[place], number, size)
    came: dict[str, list[int]] = {}
    for data in _all(outbox):
        assert len(data) < 3 * MOST_IN_BATCH
        for section in _read(data).sections:
            came.setdefault(section.context.endpoint, []).extend(
                int(one.request_id) for one in section.entries
            )
    for place, name in enumerate(("rain", "hail", "snow")):
        assert came.get(name, []) == [number for number, (one, _) in enumerate(made) if one == place]
    outbox.acknowledge(1000, 0.0)
    assert outbox.size == 0


def test_a_snapshot_s_successor_has_a_context_of_its_own() -> None:
    outbox = _outbox()
    first = _recorder(outbox)
    _add(first, 1)
    endpoint = Endpoint("rain", "/rain", Version("rain-3", (Upstream("127.0.0.1", 1),)))
    second = Recorder(outbox, replace(endpoint, record=Recording(100, False, b"{}")), 8, "other")
    _add(second, 2)
    sections = _read(outbox.cut()).sections
    assert [(one.context.generation, one.context.incumbent) for one in sections] == [
        (7, "rain-1"),
        (8, "rain-3"),
    ]
    assert second.share == 100


def _all(outbox: RecordOutbox) -> list[bytes]:
    found = []
    while outbox.pending:
        found.append(outbox.cut())
    return found


def test_what_clients_write_into_their_fields_counts_as_bodies_do() -> None:
    """Else a log that is down would cost as many times the bound as a head is longer than most are."""
    outbox = _outbox()
    rain = _recorder(outbox)
    long = "x" * 3000
    entry: tuple[Any, ...] = (
        b"1", 1.0, long, False, 200, 0.5, "shadow stage", b"", long, b"", "", (long, None), None,
    )  # fmt: skip
    outbox.add(rain, entry, 0)
    assert outbox.size == FACTS_SIZE + 3 * len(long)
    outbox.add(rain, entry, 0)
    assert outbox.size == FACTS_SIZE + 3 * len(long), "there is no room for another"
    outbox.cut()
    outbox.acknowledge(1, 0.0)
    assert outbox.size == 0


def test_what_is_not_known_to_be_on_disk_is_counted_wherever_it_waits() -> None:
    outbox = _outbox()
    rain = _recorder(outbox)
    for number in range(3):
        _add(rain, number)
    first = _read(outbox.cut())
    _add(rain, 3)
    assert outbox.unacknowledged == 4
    outbox.acknowledge(first.sequence, 1.0)
    assert outbox.unacknowledged == 1
    outbox.acknowledge(_read(outbox.cut()).sequence, 1.0)
    assert outbox.unacknowledged == 0
