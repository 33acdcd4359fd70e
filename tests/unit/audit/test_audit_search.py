"""Searching the chain: what is wanted of a record, and pages backwards that miss nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from audit import search, store
from audit.event import Event
from audit.search import Wanted
from storage.database import Database
from storage.tables import AUDIT_RECORDS
from tests.support.histories import some

EVENT = Event("switch.tripped", "switch", "rain", 1_000, "guard:flips", "flips 23 %", replica="host-8081")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/pointsman.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), True),
        (Wanted(action="switch."), True),
        (Wanted(action="tripped"), False),
        (Wanted(name="rain"), True),
        (Wanted(name="rai"), False),
        (Wanted(actor="FLIPS"), True),
        (Wanted(actor="operator"), False),
        (Wanted(text="23 %"), True),
        (Wanted(text="HOST-8081"), True),
        (Wanted(text="snow"), False),
        (Wanted(action="switch.", text="snow"), False),
        (Wanted(action="switch.", name="rain", actor="guard", text="flips"), True),
    ],
)
def test_a_record_is_found_by_all_that_is_wanted_of_it(wanted: Wanted, found: bool) -> None:
    assert wanted.matches(EVENT) is found


def test_pages_go_backwards_and_miss_nothing(database: Database) -> None:
    database.write(partial(store.append, events=some(7)))
    place, seen = 8, []
    while rows := database.read(partial(search.page, before=place, most=3, wanted=Wanted())):
        seen += [number for number, _, _ in rows]
        place = rows[-1][0]
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_times_are_from_inclusive_until_exclusive(database: Database) -> None:
    database.write(
        partial(
            store.append, events=[replace(one, at=at) for one, at in zip(some(3), (10, 20, 30), strict=True)]
        )
    )
    rows = database.read(partial(search.page, before=9, most=9, wanted=Wanted(since=10, until=30)))
    assert [number for number, _, _ in rows] == [2, 1]


def test_an_erased_record_is_found_only_where_anything_will_do(database: Database) -> None:
    database.write(partial(store.append, events=some(2)))
    erased = AUDIT_RECORDS.c.sequence == 1
    database.write(lambda on: on.execute(update(AUDIT_RECORDS).where(erased).values(content=None)))
    rows = database.read(partial(search.page, before=9, most=9, wanted=Wanted()))
    assert [(one.sequence, one.event is None) for one in search.found(rows, Wanted())] == [
        (2, False),
        (1, True),
    ]
    assert [one.sequence for one in search.found(rows, Wanted(action="stage."))] == [2]
