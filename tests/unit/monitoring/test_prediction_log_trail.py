"""How far a sink is: nothing is left out, nothing is rolled before its time, and what is lost is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import StateUnavailable
from monitoring.log.forwarding import trail as trails
from monitoring.log.forwarding.parcel import UNKNOWN, Position
from monitoring.log.forwarding.trail import Trail
from monitoring.log.segments import SQLITE, named
from monitoring.log.writer import Bounds, Delivery, LogWriter
from tests.support.records import record

BOUNDS = Bounds(keep=1e9, most=2**40, roll=100.0)


class Log:
    """A writer whose clock the test moves."""

    def __init__(self, folder: Path, bounds: Bounds = BOUNDS) -> None:
        self.folder = folder
        self.now = 1000.0
        self.sent = 0
        self.writer = LogWriter(folder, bounds, self.now)

    def keep(self, count: int) -> None:
        self.sent += 1
        made = [record(number) for number in range(count)]
        self.writer.keep([Delivery("s", self.sent, made)], self.now)

    def next_segment(self) -> None:
        self.now += 1000.0
        self.writer.end_segment(self.now)


def _all(trail: Trail) -> list[Position]:
    found: list[Position] = []
    while (parcel := trail.next()) is not None:
        found += [Position(parcel.segment, number) for number in parcel.numbers]
        trail.reached(parcel.end)
    return found


def test_every_record_is_read_once_over_all_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trails, "MOST_RECORDS", 3)
    log = Log(tmp_path)
    trail = Trail(tmp_path, "redis")
    log.keep(7)
    log.next_segment()
    log.keep(2)
    log.next_segment()
    log.keep(1)
    wanted = [Position(1, n) for n in range(1, 8)] + [Position(2, 1), Position(2, 2), Position(3, 1)]
    assert trail.behind() == 10
    assert _all(trail) == wanted
    assert (trail.behind(), trail.held) == (0, 3)
    log.keep(1)
    assert _all(Trail(tmp_path, "redis")) == [Position(3, 2)]
    log.writer.close()


def test_a_parcel_is_bounded_in_bytes_and_has_one_record_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "MOST_BYTES", 1)
    log = Log(tmp_path)
    log.keep(3)
    trail = Trail(tmp_path, "redis")
    parcel = trail.next()
    assert parcel is not None
    assert parcel.numbers == [1]
    assert len(_all(trail)) == 3
    log.writer.close()


def test_a_segment_stays_in_sqlite_until_every_sink_has_had_it(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.keep(2)
    log.next_segment()
    log.keep(1)
    one, two = Trail(tmp_path, "redis"), Trail(tmp_path, "kafka")
    log.writer.trails = (one, two)
    _all(one)
    assert log.writer.to_roll() == []
    _all(two)
    assert log.writer.to_roll() == [1]
    log.writer.close()


def test_what_is_pruned_before_a_sink_had_it_is_counted_and_passed_over(tmp_path: Path) -> None:
    log = Log(tmp_path, Bounds(keep=1e9, most=1, roll=100.0))
    trail = Trail(tmp_path, "redis")
    log.writer.trails = (trail,)
    log.keep(5)
    first = trail.next()
    assert first is not None
    trail.reached(Position(1, 2))
    log.next_segment()
    log.keep(4)
    log.writer.prune(log.now)
    assert trail.lost == {"rain": 3}
    assert _all(trail) == [Position(2, number) for number in range(1, 5)]
    log.writer.close()


@pytest.mark.parametrize(
    ("known", "resumed"),
    [
        (None, Position(2, 1)),  # it knows nothing: where it was last time
        (Position(2, 2), Position(2, 2)),  # an answer was lost
        (Position(1, 3), Position(1, 3)),  # it lost what it had
        (Position(2, 5), Position(2, 5)),  # the note was lost
    ],
)
def test_a_sink_that_says_where_it_is_is_believed(
    tmp_path: Path, known: Position | None, resumed: Position
) -> None:
    log = Log(tmp_path)
    log.keep(5)
    log.next_segment()
    log.keep(5)
    trail = Trail(tmp_path, "redis")
    trail.reached(Position(2, 1))
    trail.resume(known)
    assert trail.position == resumed
    log.writer.close()


def test_a_sink_that_lost_more_than_is_left_in_sqlite_is_sent_what_is_left(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.keep(1)
    log.next_segment()
    log.keep(1)
    trail = Trail(tmp_path, "redis")
    _all(trail)
    named(tmp_path, 1, SQLITE).unlink()
    trail.resume(Position(1, 0))
    assert _all(trail) == [Position(2, 1)]
    log.writer.close()


@pytest.mark.parametrize("known", [None, Position(9, 9), Position(2, 6)])
def test_a_folder_that_was_put_back_gets_another_name_and_is_sent_as_a_whole(
    tmp_path: Path, known: Position | None
) -> None:
    log = Log(tmp_path)
    log.keep(1)
    log.next_segment()
    log.keep(5)
    trail = Trail(tmp_path, "redis")
    before = trail.origin
    trail.reached(Position(3, 1))  # as a backup from before that has not come to it
    trail.resume(known)
    assert trail.origin != before
    assert Trail(tmp_path, "kafka").origin == trail.origin
    assert _all(trail) == [Position(1, 1), *(Position(2, number) for number in range(1, 6))]
    log.writer.close()


def test_a_segment_that_is_damaged_keeps_nobody_from_the_next(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.keep(3)
    log.next_segment()
    log.keep(2)
    named(tmp_path, 1, SQLITE).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    trail = Trail(tmp_path, "redis")
    assert _all(trail) == [Position(2, 1), Position(2, 2)]
    assert trail.lost == {UNKNOWN: 1}
    log.writer.close()


@pytest.mark.parametrize("left", ["", "1", "one two", "1 2 3"])
def test_a_note_that_says_nothing_is_no_note(tmp_path: Path, left: str) -> None:
    log = Log(tmp_path)
    log.keep(2)
    (tmp_path / "redis.position").write_text(left)
    assert _all(Trail(tmp_path, "redis")) == [Position(1, 1), Position(1, 2)]
    log.writer.close()


def test_a_note_that_cannot_be_written_is_told_and_the_sink_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path)
    log.keep(2)
    trail = Trail(tmp_path, "redis")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(trails.os, "fsync", full)
        with pytest.raises(StateUnavailable, match="No space left"):
            trail.reached(Position(1, 2))
    assert trail.next() is None
    log.writer.close()


def test_a_folder_keeps_its_name(tmp_path: Path) -> None:
    log = Log(tmp_path)
    assert Trail(tmp_path, "redis").origin == Trail(tmp_path, "kafka").origin
    log.writer.close()
