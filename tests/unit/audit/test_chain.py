"""Whatever is done to a chain is found, and the place is named."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import heads
from audit.chain import BrokenChain, Verification, Verified
from audit.event import ORIGIN, Event, Record, chained, decode, export_line, read_line, seal
from audit.heads import Head, HeadError
from audit.merkle import Frontier
from tests.support.histories import chain, some

Rows = list[tuple[bytes | None, bytes]]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RECORDS = chain(some(40))


def rows(records: list[Record] = RECORDS) -> Rows:
    return [(one.content, one.hash) for one in records]


def head(size: int, records: list[Record] = RECORDS, key: Ed25519PrivateKey = KEY) -> Head:
    root = Frontier().add(one.hash for one in records[:size]).root()
    return heads.sign(key, size=size, root=root, chain=records[size - 1].hash if size else ORIGIN, at=size)


def verify(found: Rows, *known: Head) -> Verified:
    verification = Verification(known)
    verification.read(found)
    return verification.end()


def test_a_chain_as_it_was_written_is_in_order_with_every_head_of_it() -> None:
    found = verify(rows(), *(head(size) for size in range(41)))
    assert (found.size, found.chain, found.erased) == (40, RECORDS[-1].hash, 0)
    assert found.root == Frontier().add(one.hash for one in RECORDS).root()


def test_the_hash_is_that_of_the_record_after_the_one_before() -> None:
    assert RECORDS[0].hash == chained(bytes(32), RECORDS[0].content)
    assert RECORDS[1].hash == chained(RECORDS[0].hash, RECORDS[1].content)
    assert decode(RECORDS[3].content) == (4, RECORDS[3].event)


def test_every_byte_that_is_flipped_is_found_at_its_record() -> None:
    for number in (0, 19, 39):
        content, hashed = RECORDS[number].content, RECORDS[number].hash
        for at in range(len(content)):
            for bit in (0x01, 0x80):
                spoilt = content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
                found = rows()
                found[number] = (spoilt, hashed)
                with pytest.raises(BrokenChain) as broken:
                    verify(found)
                assert broken.value.sequence == number + 1


def test_a_changed_hash_is_found() -> None:
    found = rows()
    found[7] = (found[7][0], bytes(32))
    with pytest.raises(BrokenChain, match="record 8: its content or its hash was changed"):
        verify(found)


def deleted(found: Rows, at: int) -> Rows:
    return [*found[:at], *found[at + 1 :]]


def repeated(found: Rows, at: int) -> Rows:
    return [*found[: at + 1], *found[at:]]


def swapped(found: Rows, at: int) -> Rows:
    return [*found[:at], found[at + 1], found[at], *found[at + 2 :]]


@pytest.mark.parametrize("at", [0, 1, 20, 37])
@pytest.mark.parametrize(("change", "where"), [(deleted, 1), (repeated, 2), (swapped, 1)])
def test_records_that_were_deleted_repeated_or_moved_are_found(
    change: Callable[[Rows, int], Rows], where: int, at: int
) -> None:
    with pytest.raises(BrokenChain) as broken:
        verify(change(rows(), at))
    assert broken.value.sequence == at + where


def test_a_deleted_record_is_called_missing() -> None:
    with pytest.raises(BrokenChain, match="record 6: it is missing: record 7 stands in its place"):
        verify(deleted(rows(), 5))


@pytest.mark.parametrize("left", range(30))
def test_what_was_cut_off_after_a_head_is_found(left: int) -> None:
    with pytest.raises(BrokenChain, match=rf"record {left + 1}: it is missing.*30 records, here are {left}"):
        verify(rows()[:left], head(30))


def test_a_chain_that_was_worked_out_anew_agrees_with_itself_and_not_with_the_head() -> None:
    events = [one.event for one in RECORDS]
    events[11] = Event("stage.moved", "endpoint", "rain", events[11].at, after={"weight": 9999})
    forged = chain(events)
    assert verify(rows(forged)).size == 40
    with pytest.raises(BrokenChain, match="record 30: up to here the chain agrees with itself, but not with"):
        verify(rows(forged), head(10), head(30))


def test_a_record_without_content_is_allowed_below_a_head_only() -> None:
    found = rows()
    found[4] = (None, found[4][1])
    assert verify(found, head(30)).erased == 1
    with pytest.raises(BrokenChain, match="record 5: its content was erased, and no signed head covers it"):
        verify(found, head(4))
    found[4] = (None, bytes(32))
    with pytest.raises(BrokenChain, match="record 6"):
        verify(found, head(30))


def test_two_heads_of_one_size_that_differ_are_a_fork() -> None:
    other = chain([*some(9), Event("stage.moved", "endpoint", "rain", 0)])
    with pytest.raises(BrokenChain, match="record 10: two signed heads"):
        verify(rows(), head(10), head(10, other))


def test_a_head_reads_back_and_every_flipped_byte_of_it_is_found() -> None:
    line = head(30).line()
    assert heads.read([b"", line + b"\n"]) == (head(30),)
    draw = random.Random(30)
    for at in draw.sample(range(len(line)), 60):
        with pytest.raises(HeadError, match="line 1"):
            heads.read([line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]])


def test_a_head_by_another_key_is_trusted_only_where_any_is() -> None:
    stranger = head(30, key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert heads.read([stranger.line()]) == (stranger,)
    with pytest.raises(HeadError, match="which is not trusted"):
        heads.read([stranger.line()], trusted=[head(1).key])


def test_a_line_of_an_export_keeps_the_very_bytes() -> None:
    for record in RECORDS[:3]:
        assert read_line(record.line() + b"\n") == (record.content, record.hash)
    assert read_line(export_line(None, RECORDS[0].hash)) == (None, RECORDS[0].hash)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"hash":"zz","record":{}}', RECORDS[0].content])
def test_a_line_that_is_no_export_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_line(line)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"sequence":1,"other":2}', b"\xff"])
def test_content_that_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode(content)


def test_whatever_words_an_event_has_it_can_be_sealed() -> None:
    event = Event("access.refused", "session", "\ud800", 1, reason="x" * 9000, evidence={"e": float("inf")})
    number, read = decode(seal(event, 1, ORIGIN).content)
    assert (number, read.evidence, len(read.reason), read.name) == (1, {"e": None}, 4000, "?")
    assert read.retention == "access"
