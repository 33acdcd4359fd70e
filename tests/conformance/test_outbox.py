"""One suite for the outbox of notifications, on every engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from notify import notice as notices
from notify import outbox
from notify.outbox import DELIVERED, RETENTION, STALE, Entry
from storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    yield opened
    opened.close()


def entry(kill: str = "k1", receiver: str = "hook") -> Entry:
    told = {"endpoint": "rain", "kill": kill, "version": "rain-2", "reason": "\ud800 \0 odd"}
    return Entry(receiver, notices.of_trip(told, 100.0))


def kept(
    database: Database, *entries: Entry, claimant: str = "a", now: float = 100.0
) -> frozenset[tuple[str, str]]:
    return database.write(lambda on: outbox.keep(on, entries, claimant, now))


def taken(database: Database, claimant: str, now: float) -> tuple[Entry, ...]:
    return database.write(lambda on: outbox.take_over(on, claimant, now, 100))


def test_what_two_replicas_saw_is_kept_once_and_by_the_first(database: Database) -> None:
    assert kept(database, entry(), claimant="a") == {entry().key}
    assert kept(database, entry(), entry(receiver="other"), claimant="b") == {entry(receiver="other").key}
    assert taken(database, "b", 101.0) == (entry(receiver="other"),)
    assert taken(database, "a", 101.0) == (entry(),), "a process finds its own in its next life"


def test_of_many_who_keep_the_same_at_once_one_delivers_it(database_url: str) -> None:
    Database.open(database_url).close()
    new: list[int] = []

    def keep(number: int) -> None:
        mine = Database.open(database_url)
        new.append(len(kept(mine, entry(), claimant=str(number))))
        mine.close()

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [0, 0, 0, 1]


def test_two_who_keep_the_same_in_another_order_at_once_block_each_other_for_no_longer_than_that(
    database_url: str,
) -> None:
    Database.open(database_url).close()
    half = threading.Barrier(2)
    new: list[int] = []

    def keep(*entries: Entry) -> None:
        def slowly() -> Iterator[Entry]:
            for one in entries:
                yield one
                with suppress(threading.BrokenBarrierError):
                    half.wait(1.0)

        mine = Database.open(database_url)
        try:
            new.append(len(mine.write(lambda on: outbox.keep(on, slowly(), "a", 100.0))))
        finally:
            mine.close()

    both = entry("k1"), entry("k2")
    threads = [threading.Thread(target=keep, args=order) for order in (both, both[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [0, 2]


def test_a_claim_that_is_not_renewed_is_taken_over_and_one_that_is_is_not(database: Database) -> None:
    kept(database, entry())
    assert taken(database, "b", 100.0 + STALE) == ()
    database.write(lambda on: outbox.renew(on, "a", 150.0))
    assert taken(database, "b", 101.0 + STALE) == ()
    assert taken(database, "b", 151.0 + STALE) == (entry(),)
    assert taken(database, "c", 152.0 + STALE) == ()


def test_a_claim_of_a_clock_that_was_set_back_blocks_nobody(database: Database) -> None:
    kept(database, entry(), now=1e9)
    assert taken(database, "b", 100.0) == (entry(),)


def test_what_is_settled_is_never_told_again_until_it_is_forgotten(database: Database) -> None:
    kept(database, entry())
    database.write(lambda on: outbox.settle(on, [(entry(), DELIVERED)], 110.0))
    assert taken(database, "a", 1e6) == ()
    assert kept(database, entry()) == frozenset()
    database.write(lambda on: outbox.forget(on, 111.0 + RETENTION))
    assert kept(database, entry()) == {entry().key}


def test_what_could_not_be_kept_before_it_was_delivered_is_settled_all_the_same(database: Database) -> None:
    database.write(lambda on: outbox.settle(on, [(entry(), DELIVERED)], 110.0))
    assert taken(database, "a", 1e6) == ()
    assert kept(database, entry()) == frozenset()


def test_they_are_taken_over_in_the_order_in_which_they_were_kept(database: Database) -> None:
    several = [entry(f"k{number}") for number in (3, 1, 2)]
    kept(database, *several)
    assert taken(database, "a", 101.0) == tuple(several)


def test_a_training_is_claimed_so_often_in_a_period_and_not_once_more(database: Database) -> None:
    def claim(now: float, cause: str = "drift", most: int = 2) -> bool:
        return (
            database.write(
                lambda on: outbox.claim_training(on, "rain", "rain-2", cause, now, most=most, period=100.0)
            )
            is not None
        )

    assert [claim(at) for at in (1000.0, 1050.0, 1060.0, 1099.0)] == [True, True, False, False]
    assert claim(1060.0, "accuracy")
    assert [claim(at) for at in (1100.0, 1101.0, 1150.0)] == [True, False, True]
    assert claim(500.0), "a clock that was set back blocks for no longer than a period"


def test_of_two_that_claim_the_same_training_at_once_one_gets_it(database_url: str) -> None:
    Database.open(database_url).close()
    got: list[bool] = []

    def claim() -> None:
        mine = Database.open(database_url)
        found = mine.write(
            lambda on: outbox.claim_training(on, "rain", "v", "drift", 1000.0, most=1, period=100.0)
        )
        got.append(found is not None)
        mine.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False, False, False, True]
