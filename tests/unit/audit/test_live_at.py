"""What was live at T: the interval table against a replay of the chain, and both against plain cases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from audit import event as kinds
from audit import intervals, pages, store
from audit.event import Event, decode
from audit.live import Live, Replay, replay
from storage.database import Database
from storage.tables import AUDIT_HEAD, AUDIT_INTERVALS, AUDIT_KILLS, AUDIT_PLACES, AUDIT_RECORDS
from tests.support.histories import endpoint, histories, rearmed, tripped

LATEST = 40


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path_factory.mktemp('audit') / 'audit.db'}")
    yield opened
    opened.close()


def wipe(database: Database) -> None:
    def work(on: Connection) -> None:
        for table in (AUDIT_RECORDS, AUDIT_INTERVALS, AUDIT_KILLS, AUDIT_PLACES):
            on.execute(delete(table))
        on.execute(update(AUDIT_HEAD).values(size=0, hash=bytes(32), subtrees=b""))

    database.write(work)


def chain(database: Database) -> list[tuple[int, Event]]:
    found = database.read(lambda on: pages.rows(on, 0, 10_000))
    return [decode(content) for _, content, _ in found if content is not None]


@settings(deadline=None, max_examples=100)
@given(histories(), st.lists(st.integers(1, 9), max_size=40))
@example(  # the last re-arm is of an instant at which the kill that was cleared before it was still in force
    [
        tripped("rain", 10, "k0"),
        tripped("rain", 20, "k2"),
        rearmed("rain", 15, "k0"),
        rearmed("rain", 12, "k2"),
    ],
    [],
)
def test_the_interval_table_says_what_a_replay_says_at_every_instant(
    database: Database, history: list[Event], cuts: list[int]
) -> None:
    wipe(database)
    begin = 0
    while begin < len(history):  # in transactions of every size
        size = cuts.pop() if cuts else 1
        database.write(partial(store.append, events=history[begin : begin + size]))
        begin += size
    taken = Replay()
    for number, one in chain(database):
        taken.take(number, one)
    instants = range(-1, LATEST + 2)
    shown = database.read(lambda on: [intervals.live_at(on, instant) for instant in instants])
    assert shown == [taken.at(instant) for instant in instants]
    store.verify(database)


def at(database: Database, instant: int) -> Live:
    shown = database.read(lambda on: intervals.live_at(on, instant))
    assert shown == replay(chain(database), instant)
    return shown


def weight(live: Live, name: str = "rain") -> object:
    return next((held.state["weight"] for held in live.registers if held.place.name == name), None)


def test_before_the_first_event_nothing_was_live(database: Database) -> None:
    wipe(database)
    database.write(lambda on: store.append(on, [endpoint("rain", 10, 100)]))
    assert at(database, 9) == Live(9, (), ())
    assert weight(at(database, 10)) == 100


def test_of_two_events_at_one_instant_the_later_record_wins(database: Database) -> None:
    wipe(database)
    database.write(lambda on: store.append(on, [endpoint("rain", 10, 100), endpoint("rain", 10, 500)]))
    assert weight(at(database, 10)) == 500


def test_a_clock_that_is_set_back_hides_nothing(database: Database) -> None:
    wipe(database)
    database.write(lambda on: store.append(on, [endpoint("rain", 10, 100), endpoint("rain", 4, 500)]))
    assert weight(at(database, 9)) is None
    assert weight(at(database, 11)) == 500


def test_a_late_kill_counts_from_when_it_was_applied(database: Database) -> None:
    wipe(database)
    events = [tripped("rain", 10, "k0"), rearmed("rain", 20, "k0"), tripped("rain", 15, "k2", late=True)]
    database.write(lambda on: store.append(on, events))
    assert [kill.id for kill in at(database, 15).kills] == ["k0", "k2"]
    assert [kill.id for kill in at(database, 30).kills] == ["k2"]


def test_a_kill_is_recorded_once_whoever_tells_of_it(database: Database) -> None:
    wipe(database)
    first = database.write(lambda on: store.append(on, [tripped("rain", 10, "k0", replica="a")]))
    again = database.write(lambda on: store.append(on, [tripped("rain", 12, "k0", replica="b")] * 2))
    cleared = database.write(lambda on: store.append(on, [rearmed("rain", 20, "k0")] * 2))
    assert (len(first), len(again), len(cleared)) == (1, 0, 1)
    assert [kill.since for kill in at(database, 12).kills] == [10]


def test_when_a_gateway_stops_nothing_of_it_is_live_and_the_switch_stays(database: Database) -> None:
    wipe(database)
    stopped = Event(kinds.STOPPED, kinds.GATEWAY, "", 30, replica="a")
    events = [endpoint("rain", 10, 100), tripped("rain", 20, "k0"), endpoint("rain", 20, 7, "b"), stopped]
    database.write(lambda on: store.append(on, events))
    shown = at(database, 30)
    assert [held.place.replica for held in shown.registers] == ["b"]
    assert [kill.id for kill in shown.kills] == ["k0"]
