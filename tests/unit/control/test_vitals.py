"""What workers say of themselves: added where it counts, latest where it is a state, bounded always."""

from __future__ import annotations

from control.tallies import MOST_SESSIONS, Tallies
from shadow.outbox import Outbox
from shadow.wire import LAG_BOUNDS, Batch, FrameBuffer, Vitals, decode_from_worker
from tests.support.control import batch, pair


def counts(place: int) -> list[int]:
    found = [0] * (len(LAG_BOUNDS) + 1)
    found[place] = 1
    return found


def sent(frame: bytes) -> Batch:
    (payload,) = FrameBuffer().feed(frame)
    message = decode_from_worker(payload)
    assert isinstance(message, Batch)
    return message


def test_a_batch_tells_what_is_left_behind_it() -> None:
    outbox = Outbox("s")
    outbox.late(counts(0), 0.25)
    outbox.late(counts(2), 0.5)
    for number in range(3):
        outbox.add(pair(number))
    first = sent(outbox.cut(([], [], [])))
    assert first.vitals is not None
    assert (first.vitals.pairs, first.vitals.bytes, first.vitals.batches) == (0, 0, 0)
    assert (sum(first.vitals.buckets), first.vitals.seconds) == (2, 0.75)
    assert sent(outbox.cut(([], [], []))).vitals is None
    outbox.late(counts(0), 0.0)
    third = sent(outbox.cut(([], [], [])))
    assert third.vitals is not None
    assert third.vitals.batches == 2


def test_lag_adds_up_and_the_backlog_is_the_latest() -> None:
    tallies = Tallies()
    tallies.batch(batch(1, [], "s", vitals=Vitals(counts(0), 0.5, 7, 700, 1)))
    tallies.batch(batch(2, [], "s", vitals=Vitals(counts(0), 0.5, 3, 300, 2)))
    tallies.batch(batch(3, [], "s"))
    assert (tallies.lags["s"].counts[0], tallies.lags["s"].total) == (2, 1.0)
    assert tallies.vitals["s"].pairs == 3


def test_sessions_that_come_and_go_are_not_kept_for_ever() -> None:
    tallies = Tallies()
    for number in range(MOST_SESSIONS + 10):
        tallies.batch(batch(1, [], f"s{number}", vitals=Vitals(counts(0), 0.0, 0, 0, 0)))
    assert len(tallies.vitals) == len(tallies.lags) == MOST_SESSIONS
    assert f"s{MOST_SESSIONS + 9}" in tallies.lags


def test_counts_by_other_bounds_are_not_added() -> None:
    tallies = Tallies()
    tallies.batch(batch(1, [], "s", vitals=Vitals([1, 2], 9.0, 0, 0, 0)))
    assert (sum(tallies.lags["s"].counts), tallies.lags["s"].total) == (0, 0.0)
