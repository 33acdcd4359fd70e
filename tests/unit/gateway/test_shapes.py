"""Whatever a shape reads of a head, the grammar reads alike; whatever the grammar refuses has no shape."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ClientProtocolError
from gateway import shapes
from gateway.head import RequestGrammar
from gateway.message import RequestMessage
from gateway.shapes import Shapes

INTEREST = (b"x-user-id", b"content-type")
TAUGHT = shapes.STUDY_ONE_IN * (shapes.SEEN_BEFORE + 2)
"""Heads of one order that make it a shape, and one that is read by it."""

ORDINARY = (
    b"POST /v2/models/m/infer HTTP/1.1",
    b"Host: models.test",
    b"User-Agent: a",
    b"X-User-Id: 42",
    b"Content-Type: application/json",
    b"Content-Length: 3",
    b"X-Forwarded-For: 203.0.113.9",
    b"Cookie: a=b",
    b"Connection: keep-alive",
    b"X-Request-Id: r-1",
    b"Via: 1.1 other",
)


def whole(*lines: bytes, body: bytes = b"abc") -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def taught(*lines: bytes) -> RequestGrammar:
    """A grammar that has met these lines often enough."""
    grammar = RequestGrammar(INTEREST, accelerated=False)
    for _ in range(TAUGHT):
        grammar.read(whole(*lines))
    return grammar


def by_shape(grammar: RequestGrammar, data: bytes) -> RequestMessage | None:
    known = grammar._shapes
    assert known is not None
    assert len(known)
    return known.read(data)


def seen(grammar: RequestGrammar, data: bytes) -> tuple[object, ...]:
    """What the grammar makes of `data`, to compare by."""
    try:
        read = grammar.read(data)
    except ClientProtocolError as error:
        return error.status_hint, error.reason
    return (None,) if read is None else attributes(read)


def attributes(read: RequestMessage) -> tuple[object, ...]:
    return (
        read.method, read.target, read.path, read.minor, read.fields, read.keep_alive, read.content_length,
        read.end, read.whole_at, read.request_id, read.via, read.values, read.chunked, read.expects_continue,
    )  # fmt: skip


def plain() -> RequestGrammar:
    return RequestGrammar(INTEREST, accelerated=False, shaped=False)


def test_a_head_in_an_order_met_before_is_read_by_its_shape_as_the_grammar_reads_it() -> None:
    grammar = taught(*ORDINARY)
    other = [*ORDINARY]
    other[2:6] = (
        b"User-Agent:\tcurl \xff (x)  ", b"X-User-Id:  7 7 ", b"Content-Type:", b"Content-Length: 0012 "
    )  # fmt: skip
    other[9] = b"X-Request-Id: given.by:client"
    read = by_shape(grammar, whole(*other))
    assert read is not None
    assert attributes(read) == seen(plain(), whole(*other))
    assert read.values == {b"x-user-id": b"7 7", b"content-type": b""}
    assert read.request_id == b"given.by:client"
    assert read.via
    assert b"Cookie: a=b" in read.fields
    assert b"X-Forwarded-For" not in read.fields


@pytest.mark.parametrize(
    "line",
    [
        (0, b"GET /v2/models/m/infer HTTP/1.1"),  # never read before: the grammar has to learn it
        (0, b"POST /v2/models/m/infer HTTP/1.0"),
        (0, b"POST /v2/models/m/infer?a=b HTTP/1.1"),
        (1, b"Host: never.met"),
        (1, b"Host : models.test"),
        (2, b"User-Agent: a\x00b"),
        (2, b"User-Agent: a\nX: b"),
        (2, b"User-Agent: a\rb"),
        (2, b" folded"),
        (2, b"user-agent: a"),
        (5, b"Content-Length: +3"),
        (5, b"Content-Length: 1234567890123456"),
        (5, b"Content-Length: "),
        (5, b"Transfer-Encoding: chunked"),
        (7, b"Content-Length: 3"),
        (8, b"Connection: close"),
        (8, b"Connection: keep-alive, cookie"),
        (9, b"X-Request-Id: not an id"),
        (9, b"Expect: 100-continue"),
    ],
)
def test_what_is_rare_or_wrong_is_left_to_the_grammar(line: tuple[int, bytes]) -> None:
    grammar = taught(*ORDINARY)
    lines = [*ORDINARY]
    lines[line[0]] = line[1]
    data = whole(*lines)
    assert by_shape(grammar, data) is None
    assert seen(grammar, data) == seen(plain(), data)


def test_a_head_that_is_not_whole_has_no_shape() -> None:
    grammar = taught(*ORDINARY)
    data = whole(*ORDINARY, body=b"")
    assert all(by_shape(grammar, data[:cut]) is None for cut in range(len(data)))
    assert by_shape(grammar, data) is not None


def test_a_head_longer_than_allowed_is_refused_in_whatever_order() -> None:
    grammar = taught(*ORDINARY)
    lines = [*ORDINARY]
    lines[7] = b"Cookie: " + b"a" * 65536
    assert by_shape(grammar, whole(*lines)) is None
    assert seen(grammar, whole(*lines))[0] == 431


def test_orders_that_never_come_again_make_no_pattern() -> None:
    grammar = plain()
    known = Shapes({}, set())
    for number in range(1000):
        head = whole(ORDINARY[0], ORDINARY[1], b"X-%d: a" % number, body=b"")[:-4]
        grammar.parse(head)
        known.missed(head, grammar._names.kinds)
    assert len(known) == 0


def test_patterns_are_rationed_and_the_one_met_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[object] = []

    class Counted(shapes.Shape):
        def __init__(self, lines: Sequence[tuple[int, bytes]]) -> None:
            made.append(lines)
            super().__init__(lines)

    monkeypatch.setattr(shapes, "Shape", Counted)
    grammar = RequestGrammar(INTEREST, accelerated=False)
    for number in range(40):
        for _ in range(TAUGHT):
            grammar.read(whole(ORDINARY[0], ORDINARY[1], b"X-%d: a" % number))
    read_by_the_grammar = 40 * TAUGHT
    assert len(made) <= shapes.UNRATIONED + read_by_the_grammar // shapes.RATION
    assert grammar._shapes is not None
    assert len(grammar._shapes) == min(len(made), shapes.MOST)


NAMES = st.sampled_from(
    [line.partition(b":")[0] + b":" for line in ORDINARY[1:]]
    + [
        b"X_Request_Id:",
        b"TE:",
        b"content-length:",
        b"x-pointsman-arm:",
        b"Transfer-Encoding:",
        b"x-user-id:",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"3", b"keep-alive", b"close", b"models.test", b"a b", b"chunked", b"0", b"03", b"caf\xc3\xa9"]
    ),
    st.binary(max_size=6),
    st.text("ab0 :;\t", max_size=8).map(str.encode),
)
FIELDS = st.builds(
    lambda name, before, value, after: name + before + value + after,
    NAMES, st.sampled_from([b"", b" ", b"\t "]), VALUES, st.sampled_from([b"", b" "]),
)  # fmt: skip
FIRST = st.sampled_from(
    [
        ORDINARY[0],
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET /a?b HTTP/1.1",
        b"POST http://h/a HTTP/1.1",
        b"X",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_bytes_are_read_otherwise_by_a_shape_than_by_the_grammar(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=6).map(lambda names: [b"Host:", *names]))
    ordinary = [data.draw(FIRST), *(name + b" " + data.draw(VALUES) for name in names)]
    ordinary[1] = b"Host: models.test"
    grammar, other = RequestGrammar(INTEREST, accelerated=False), plain()
    for _ in range(TAUGHT):
        assert seen(grammar, whole(*ordinary)) == seen(other, whole(*ordinary))
    for _ in range(4):
        lines = [*ordinary]
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(FIRST if at == 0 else FIELDS)
        sent = whole(*lines)
        cut = data.draw(st.sampled_from([len(sent), len(sent) - 4]))
        assert seen(grammar, sent[:cut]) == seen(other, sent[:cut])
