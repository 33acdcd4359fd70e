"""The chain in a database, on either engine: gap-free, without forks, and all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, delete, update

from audit import heads, intervals, pages, store
from audit.chain import BrokenChain
from audit.event import Event, decode
from audit.heads import HeadError
from audit.live import Replay
from domain.kill import Clearance, Kill
from killswitch.stores.database import DatabaseStore, keep_clearance
from storage.database import Database
from storage.tables import AUDIT_HEAD, AUDIT_RECORDS, AUDIT_TEXTS
from tests.support.audit_writers import Writers
from tests.support.histories import endpoint, rearmed, some, tripped

KILLED = 8
"""Times that a writer is killed here; `python -m bench.audit` does it 200 times."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    yield opened
    opened.close()


def rows(database: Database) -> list[tuple[int, bytes | None, bytes]]:
    return database.read(lambda on: pages.rows(on, 0, 100_000))


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_page_is_the_same_whatever_its_size_and_whatever_was_erased(database: Database, most: int) -> None:
    database.write(partial(store.append, events=some(7)))
    erased, emptied = AUDIT_RECORDS.c.sequence.in_([1, 3, 7]), AUDIT_RECORDS.c.sequence == 4
    database.write(lambda on: on.execute(update(AUDIT_RECORDS).where(erased).values(content=None)))
    database.write(lambda on: on.execute(update(AUDIT_RECORDS).where(emptied).values(content=b"")))
    found: list[pages.Row] = []
    while page := database.read(partial(pages.rows, after=len(found), most=most)):
        found += page
    assert found == rows(database)
    assert [number for number, _, _ in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [number for number, content, _ in found if content is None] == [1, 3, 7]
    assert found[3][1] == b""


def test_pages_end_where_they_are_told_to_and_where_the_records_do(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    database.write(partial(store.append, events=some(5)))
    for size, numbers in ((0, []), (1, [1]), (4, [1, 2, 3, 4]), (9, [1, 2, 3, 4, 5])):
        found = [number for page in pages.pages(database, size) for number, _, _ in page]
        assert found == numbers


def test_a_chain_reads_back_as_it_was_appended(database: Database) -> None:
    records = [*database.write(partial(store.append, events=some(3)))]
    records += database.write(partial(store.append, events=[tripped("rain", 9, "k0")]))
    assert [(one.sequence, one.content, one.hash) for one in records] == rows(database)
    assert store.verify(database).size == 4
    assert database.read(store.tip).chain == records[-1].hash
    assert database.read(store.first_time) == 0


def test_a_change_and_its_record_are_there_together_or_not_at_all(database: Database) -> None:
    clearance = Clearance("rain", frozenset({"k0"}), "ann", "fine", 1.0)

    def work(on: Connection, *, fail: bool) -> None:
        keep_clearance(on, clearance)
        store.append(on, [rearmed("rain", 1, "k0")])
        if fail:
            raise RuntimeError("something went wrong after both were written")

    kept = DatabaseStore(database)
    with pytest.raises(RuntimeError):
        database.write(partial(work, fail=True))
    assert (kept.clearances(), rows(database)) == ((), [])
    database.write(partial(work, fail=False))
    assert (kept.clearances(), len(rows(database))) == ((clearance,), 1)


def test_several_gateways_append_to_one_chain_without_forks_or_gaps(database_url: str) -> None:
    each, writers = 25, 4
    Database.open(database_url).close()

    def write(replica: str) -> None:
        mine = Database.open(database_url, 60)
        for number in range(each):
            mine.write(partial(store.append, events=[endpoint("rain", number, number, replica)] * 2))
        mine.close()

    threads = [threading.Thread(target=write, args=(f"r{number}",)) for number in range(writers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    database = Database.open(database_url)
    try:
        assert store.verify(database).size == 2 * each * writers
        made = [decode(content)[1] for _, content, _ in rows(database) if content]
        for number in range(writers):
            mine = [one.at for one in made if one.replica == f"r{number}"]
            assert mine == sorted(mine)
            assert len(mine) == 2 * each
    finally:
        database.close()


def test_what_was_acknowledged_survives_a_kill_of_the_writer_and_nothing_is_half_written(
    database_url: str,
) -> None:
    Database.open(database_url).close()
    acknowledged = 0
    with Writers(database_url) as writers:
        for turn in range(KILLED):
            told = writers.kill_after(turn % 3, 0.002 * turn, acknowledged)
            database = Database.open(database_url, 60)
            try:
                acknowledged = survivors(database, told, acknowledged)
            finally:
                database.close()
    assert acknowledged > 0


def survivors(database: Database, told: int, before: int) -> int:
    """The chain is whole and has all up to `told`; the first number that it does not have."""
    found = rows(database)
    assert store.verify(database).size == len(found)
    records = [decode(content) for _, content, _ in found if content]
    kept = {one.at for _, one in records if one.action == "switch.tripped"}
    # One more may have been kept whose acknowledgement was on its way when the writer was killed.
    assert set(range(max(told + 1, before))) <= kept
    assert {one.at for _, one in records if one.action == "stage.moved"} == kept
    agrees(database, records)
    return max(kept, default=-1) + 1


def agrees(database: Database, records: list[tuple[int, Event]]) -> None:
    taken = Replay()
    for number, one in records:
        taken.take(number, one)
    last = records[-1][1].at if records else 0
    for at in (0, last // 2, last):
        assert database.read(partial(intervals.live_at, at=at)) == taken.at(at)


def test_kills_and_clearances_that_were_kept_alone_are_recorded_late_and_once(database: Database) -> None:
    kept = DatabaseStore(database)
    kept.add_kill(Kill("k0", "rain", "ann", "bad", 1.5, "two"))
    kept.add_kill(Kill("k1", "rain", "guard:flips", "12 %", 2.5, "two"))
    kept.add_clearance(Clearance("rain", frozenset({"k0"}), "bob", "fine", 3.0))
    database.write(partial(store.append, events=[tripped("rain", 2_500_000, "k1")]))
    missed = database.write(lambda on: store.append(on, store.unrecorded(on)))
    assert [(one.event.action, one.event.actor, one.event.at) for one in missed] == [
        ("switch.tripped", "ann", 1_500_000),
        ("switch.rearmed", "bob", 3_000_000),
    ]
    assert all(one.event.late for one in missed)
    assert database.read(store.unrecorded) == []
    live = database.read(partial(intervals.live_at, at=2_000_000))
    assert [kill.id for kill in live.kills] == ["k0"]


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_record_that_was_deleted_in_the_database_is_missed(database: Database, number: int) -> None:
    database.write(partial(store.append, events=some(5)))
    database.write(lambda on: on.execute(delete(AUDIT_RECORDS).where(AUDIT_RECORDS.c.sequence == number)))
    with pytest.raises(BrokenChain) as broken:
        store.verify(database)
    assert broken.value.sequence == number


def test_a_record_that_was_edited_in_the_database_is_found(database: Database) -> None:
    records = database.write(partial(store.append, events=some(5)))
    forged = records[2].content.replace(b'"weight":2', b'"weight":3')
    assert forged != records[2].content
    database.write(
        lambda on: on.execute(
            update(AUDIT_RECORDS).where(AUDIT_RECORDS.c.sequence == 3).values(content=forged)
        )
    )
    with pytest.raises(BrokenChain, match="record 3: its content or its hash was changed"):
        store.verify(database)


def test_a_head_row_that_was_set_back_is_found(database: Database) -> None:
    database.write(partial(store.append, events=some(4)))
    before = database.read(store.tip)
    database.write(partial(store.append, events=some(1)))
    database.write(
        lambda on: on.execute(
            update(AUDIT_HEAD).values(hash=before.chain, subtrees=before.frontier.encode(), size=4)
        )
    )
    store.verify(database)  # as if the fifth had never been: only a signed head knows
    key = Ed25519PrivateKey.generate()
    head = heads.sign(key, size=5, root=bytes(32), chain=bytes(32), at=0)
    with pytest.raises(BrokenChain, match="record 5: it is missing"):
        store.verify(database, [head])


def test_a_damaged_head_row_stops_the_writer(database: Database) -> None:
    database.write(lambda on: on.execute(update(AUDIT_HEAD).values(size=3)))
    with pytest.raises(BrokenChain, match="the head of the chain is damaged"):
        database.write(partial(store.append, events=some(1)))
    database.write(lambda on: on.execute(delete(AUDIT_HEAD)))
    with pytest.raises(BrokenChain, match="the head of the chain is missing"):
        database.write(partial(store.append, events=some(1)))


def test_contents_whose_time_is_over_are_erased_below_a_head_only_and_the_chain_goes_on(
    database: Database,
) -> None:
    came = [Event("session.opened", "session", "ann", at) for at in range(4)]
    database.write(partial(store.append, events=[*came, endpoint("rain", 4, 1)]))
    tip = database.read(store.tip)
    root = tip.frontier.root()
    head = heads.sign(Ed25519PrivateKey.generate(), size=5, root=root, chain=tip.chain, at=0)
    assert database.write(partial(store.erase, before=3, retention="access", covered=2)) == 2
    assert store.verify(database, [head]).erased == 2
    with pytest.raises(store.NotErasable, match="kept for good"):
        database.write(partial(store.erase, before=9, retention="live", covered=5))
    with pytest.raises(store.UnknownRecord, match="there is no record 6; the chain has 5"):
        database.read(partial(store.content, sequence=6))
    assert database.read(partial(store.content, sequence=1)) is None


def test_a_text_that_records_name_is_kept_once_and_a_changed_one_is_noticed(database: Database) -> None:
    digest = database.write(partial(store.keep_text, content=b"{}"))
    assert database.write(partial(store.keep_text, content=b"{}")) == digest
    assert database.read(partial(store.texts, digests=[digest, "unknown"])) == {digest: b"{}"}
    database.write(lambda on: on.execute(update(AUDIT_TEXTS).values(text=b"[]")))
    with pytest.raises(BrokenChain, match="was changed"):
        database.read(partial(store.texts, digests=[digest]))


def test_a_file_of_heads_that_is_cut_in_its_last_line_says_so() -> None:
    head = heads.sign(Ed25519PrivateKey.generate(), size=1, root=bytes(32), chain=bytes(32), at=0)
    with pytest.raises(HeadError, match="line 2"):
        heads.read([head.line(), head.line()[:-20]])
