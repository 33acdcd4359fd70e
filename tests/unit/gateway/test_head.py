"""Heads: what was seen before changes no meaning, memory is bounded, and slices do not matter."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ClientProtocolError, UpstreamProtocolError
from gateway.fields import LONGEST_REMEMBERED, REMEMBERED, VALUES_REMEMBERED
from gateway.head import (
    ACCELERATED,
    HEADS_REMEMBERED,
    LONGEST_HEAD_REMEMBERED,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    RequestGrammar,
    ResponseGrammar,
    incomplete,
)
from tests.support.heads import LINES, NEAR_MISSES, field_lines, request_head, response_head

SEEDS = st.integers(0, 2**32 - 1)
INTEREST = (b"x-user-id", b"x-request-id", b"host", b"x-forwarded-for")
LEARNED = 5000
"""Heads that a grammar has parsed before."""
DISTINCT = 200_000

_REQUEST_PARTS = (
    "method", "target", "path", "minor", "fields", "keep_alive", "content_length", "chunked",
    "expects_continue", "request_id", "values", "end", "whole_at",
)  # fmt: skip
_RESPONSE_PARTS = (
    "status", "reason", "minor", "fields", "content_length", "final_length", "chunked", "keep_alive", "media",
    "raw", "end",
)  # fmt: skip


def _request(grammar: RequestGrammar, head: bytes) -> tuple[object, ...]:
    """All that parsing `head` gives: its parts, or the refusal."""
    try:
        request = grammar.read(head + b"\r\n\r\n")
    except ClientProtocolError as error:
        return "refused", error.status_hint, error.reason
    return tuple(getattr(request, part) for part in _REQUEST_PARTS)


def _response(grammar: ResponseGrammar, head: bytes) -> tuple[object, ...]:
    try:
        response = grammar.read(head + b"\r\n\r\n")
    except UpstreamProtocolError as error:
        return "refused", error.reason
    return tuple(getattr(response, part) for part in _RESPONSE_PARTS)


def _experienced() -> RequestGrammar:
    grammar = RequestGrammar(INTEREST)
    random = Random(3)
    for _ in range(LEARNED):
        _request(grammar, request_head(random))
    for line in (*LINES, *NEAR_MISSES):
        for _ in range(2):
            _request(grammar, b"GET / HTTP/1.1\r\nHost: a\r\n" + line)
            _request(grammar, b"GET / HTTP/1.1\r\n" + line + b"\r\nX-Last: 1")
    return grammar


REQUESTS = _experienced()
RESPONSES = ResponseGrammar()
for _seed in range(LEARNED):
    _response(RESPONSES, response_head(Random(_seed)))


@settings(deadline=None, max_examples=400)
@given(SEEDS)
def test_a_request_means_the_same_to_a_grammar_that_has_seen_thousands(seed: int) -> None:
    head = request_head(Random(seed))
    fresh = _request(RequestGrammar(INTEREST), head)
    assert _request(REQUESTS, head) == fresh
    assert _request(REQUESTS, head) == fresh, "and the second time too"


@settings(deadline=None, max_examples=400)
@given(SEEDS)
def test_an_answer_means_the_same_to_a_grammar_that_has_seen_thousands(seed: int) -> None:
    head = response_head(Random(seed))
    fresh = _response(ResponseGrammar(), head)
    assert _response(RESPONSES, head) == fresh
    assert _response(RESPONSES, head) == fresh, "and the second time too"


def test_thousands_of_heads_mean_the_same_in_any_company() -> None:
    random = Random(4)
    for _ in range(LEARNED):
        head = request_head(random)
        assert _request(REQUESTS, head) == _request(RequestGrammar(INTEREST), head), head


@pytest.mark.parametrize("miss", NEAR_MISSES)
def test_a_malformed_line_is_refused_however_often_and_in_whatever_company(miss: bytes) -> None:
    fresh = _request(RequestGrammar(INTEREST), b"GET / HTTP/1.1\r\nHost: a\r\n" + miss)
    grammar = RequestGrammar(INTEREST)
    heads = [
        b"GET / HTTP/1.1\r\nHost: a\r\n" + miss,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + miss + b"\r\nX-After: 1",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Before: 1\r\n" + miss + b"\r\nX-After: 1",
    ]
    for _ in range(VALUES_REMEMBERED + 2):
        for head in heads:
            outcome = _request(grammar, head)
            assert outcome == _request(RequestGrammar(INTEREST), head)
            assert (outcome[0] == "refused") == (fresh[0] == "refused")


@pytest.mark.parametrize("line", [b"Host: a", b"Content-Length: 4", b"Transfer-Encoding: chunked"])
def test_a_name_twice_in_any_case_is_refused_though_each_was_seen(line: bytes) -> None:
    name, _, value = line.partition(b":")
    lines = [case + b":" + value for case in (name, name.lower(), name.upper(), name.swapcase())]
    grammar = RequestGrammar(INTEREST)
    host = b"" if name == b"Host" else b"\r\nHost: a"
    for one in lines:
        assert _request(grammar, b"POST / HTTP/1.1" + host + b"\r\n" + one)[0] != "refused"
    for one in lines:
        for other in lines:
            head = b"POST / HTTP/1.1" + host + b"\r\n" + one + b"\r\n" + other
            assert _request(grammar, head)[:2] == ("refused", 400)


@pytest.mark.skipif(not ACCELERATED, reason="the scan is not compiled here")
@settings(deadline=None, max_examples=400)
@given(SEEDS)
def test_the_compiled_scan_reads_every_head_as_the_grammar_does(seed: int) -> None:
    random = Random(seed)
    for _ in range(10):
        head = request_head(random)
        compiled = _request(RequestGrammar(INTEREST, accelerated=True), head)
        assert compiled == _request(RequestGrammar(INTEREST, accelerated=False), head), head
        head = response_head(random)
        compiled = _response(ResponseGrammar(accelerated=True), head)
        assert compiled == _response(ResponseGrammar(accelerated=False), head), head


# ---- memory ---------------------------------------------------------------------------------------------


def _remembered(grammar: object) -> tuple[int, int]:
    """Entries in the containers that `grammar` holds, and bytes of the byte strings in them."""
    known: set[int] = set()
    entries = size = 0
    waiting: list[object] = [grammar]
    while waiting:
        thing = waiting.pop()
        if id(thing) in known or isinstance(thing, type | str | int):
            continue
        known.add(id(thing))
        if isinstance(thing, bytes):
            size += len(thing)
            continue
        if isinstance(thing, dict | set):
            entries += len(thing)
        elif not (isinstance(thing, list | tuple) or type(thing).__module__.startswith("gateway.")):
            continue
        waiting.extend(gc.get_referents(thing))
    return entries, size


def _flood(grammar: RequestGrammar | ResponseGrammar, start: bytes, lines: Iterable[bytes]) -> None:
    held: list[bytes] = []
    size = 0
    for line in lines:
        if len(held) == MAX_FIELDS - 1 or size + len(line) > MAX_HEAD - 1000:
            grammar.parse(start + b"\r\n".join(held))
            held, size = [], 0
        held.append(line)
        size += len(line) + 2


MOST_ENTRIES = REMEMBERED * (VALUES_REMEMBERED + 4)
MOST_BYTES = REMEMBERED * (VALUES_REMEMBERED + 4) * 2 * LONGEST_REMEMBERED
REQUEST_START = b"GET / HTTP/1.1\r\nHost: a\r\n"
RESPONSE_START = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "line",
    [b"X-%d: 1", b"X-A: %d", b"Keep-Alive: %d", b"Content-Type%d: a/b", b"X-User-Id: %d"],
    ids=["names", "values", "notable values", "suffixed names", "wanted values"],
)
def test_memory_is_bounded_under_distinct_lines(line: bytes) -> None:
    grammar = RequestGrammar(INTEREST)
    _flood(grammar, REQUEST_START, (line % number for number in range(DISTINCT)))
    entries, _ = _remembered(grammar)
    assert entries <= MOST_ENTRIES


def test_memory_is_bounded_under_names_that_each_have_many_values() -> None:
    grammar = RequestGrammar()
    lines = (b"X-%d: %d" % (n // (VALUES_REMEMBERED + 1), n) for n in range(DISTINCT))
    _flood(grammar, REQUEST_START, lines)
    entries, size = _remembered(grammar)
    assert entries <= MOST_ENTRIES
    assert size <= MOST_BYTES


def test_memory_is_bounded_under_distinct_request_lines() -> None:
    grammar = RequestGrammar()
    for number in range(DISTINCT // 10):
        grammar.parse(b"GET /%d HTTP/1.1\r\nHost: a" % number)
    assert _remembered(grammar)[0] <= MOST_ENTRIES


def test_memory_is_bounded_under_distinct_answers() -> None:
    grammar = ResponseGrammar()
    _flood(grammar, RESPONSE_START, (b"X-%d: %d" % (n % 9000, n) for n in range(DISTINCT)))
    assert _remembered(grammar)[0] <= MOST_ENTRIES


@pytest.mark.parametrize("grammar", [RequestGrammar(), ResponseGrammar()], ids=["requests", "answers"])
def test_a_name_that_fills_a_head_is_not_remembered(grammar: RequestGrammar | ResponseGrammar) -> None:
    start = REQUEST_START if isinstance(grammar, RequestGrammar) else RESPONSE_START
    count = 600
    for number in range(count):
        grammar.parse(start + b"X-%d-" % number + b"y" * (MAX_HEAD - 100) + b": 1")
    # An answer's whole head is remembered on purpose, unless it is long; and so is the last one.
    heads = 0 if isinstance(grammar, RequestGrammar) else HEADS_REMEMBERED
    assert _remembered(grammar)[1] <= 2 * heads * LONGEST_HEAD_REMEMBERED + 2 * MAX_HEAD + MOST_BYTES // 100


# ---- slices ---------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(SEEDS)
def test_no_prefix_of_a_good_head_is_refused_as_hopeless(seed: int) -> None:
    head = request_head(Random(seed))
    if _request(RequestGrammar(), head)[0] == "refused":
        return
    whole = head + b"\r\n\r\n"
    for end in range(len(whole)):
        incomplete(whole[:end])


@settings(deadline=None, max_examples=150)
@given(SEEDS, st.sampled_from([b"", b"\r\n", b"\r\nHost: models", b"x HTTP/1.1\r\nHost: models"]))
def test_what_is_refused_as_hopeless_is_refused_whatever_follows(seed: int, more: bytes) -> None:
    head = request_head(Random(seed))
    try:
        incomplete(head)
    except ClientProtocolError:
        assert _request(RequestGrammar(), (head + more).split(b"\r\n\r\n")[0])[0] == "refused"


@pytest.mark.parametrize("excess", range(-20, 4))
def test_the_longest_request_line_does_not_depend_on_the_slices(excess: int) -> None:
    head = b"GET /".ljust(MAX_TARGET + excess, b"a") + b" HTTP/1.1\r\nHost: a"
    accepted = _request(RequestGrammar(), head)[0] != "refused"
    if accepted:
        for end in range(MAX_TARGET - 30, len(head)):
            incomplete(head[:end])
    else:
        assert _request(RequestGrammar(), head)[1] == 414


@pytest.mark.parametrize("short", range(5))
def test_the_longest_head_does_not_depend_on_the_slices(short: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "
    head = head.ljust(MAX_HEAD - short, b"y")
    assert _request(RequestGrammar(), head)[0] != "refused"
    whole = head + b"\r\n\r\n"
    for end in range(MAX_HEAD - 10, len(whole)):
        incomplete(whole[:end])


@pytest.mark.parametrize(
    "data", [b"GET /" + b"a" * MAX_TARGET * 2, b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD]
)
def test_an_endless_head_is_refused_before_its_end(data: bytes) -> None:
    with pytest.raises(ClientProtocolError) as error:
        incomplete(data)
    assert error.value.status_hint in (414, 431)


# ---- fields ---------------------------------------------------------------------------------------------

_NAMES = st.sampled_from([b"x-a", b"X-A", b"x-ab", b"a", b"x-a-", b"x.a", b"x+a", b"xxa"])
_VALUES = st.sampled_from([b"", b" 1", b" x-a: 2", b"x-a:", b" \xff\t"])


@settings(deadline=None, max_examples=150)
@given(fields=st.lists(st.tuples(_NAMES, _VALUES), max_size=6), name=_NAMES)
def test_a_field_is_taken_out_with_all_its_lines_and_no_other(
    fields: list[tuple[bytes, bytes]], name: bytes
) -> None:
    lines = b"".join(b"\r\n%b:%b" % field for field in fields)
    head = b"GET / HTTP/1.1\r\nHost: m\r\nConnection: " + name + lines
    left = b"".join(b"\r\n%b:%b" % field for field in fields if field[0].lower() != name.lower())
    assert RequestGrammar().parse(head).fields == left


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize(
    ("value", "old", "new"),
    [
        (b"keep-alive", True, True),
        (b"Keep-Alive", True, True),
        (b"x, keep-alive ", True, True),
        (b"close", False, False),
        (b"CLOSE", False, False),
        (b"x\t,\tclose", False, False),
        (b"keep-alive, close", False, False),
        (b"close, keep-alive", False, False),
        (b"", False, True),
        (b"x-keep-alive", False, True),
        (b"keep-alive-x", False, True),
        (b"keep-alive, x-closed", True, True),
        (b"closed", False, True),
    ],
)
def test_a_connections_fate_is_in_whole_options(value: bytes, old: bool, new: bool, minor: int) -> None:
    expected = new if minor else old
    for lines in (b"Connection: " + value, b"Connection: x-b\r\nConnection: " + value):
        head = b"GET / HTTP/1.%d\r\nHost: a\r\n" % minor + lines
        assert RequestGrammar().parse(head).keep_alive is expected
        answer = ResponseGrammar().parse(b"HTTP/1.%d 200 OK\r\n" % minor + lines)
        assert answer.keep_alive is expected


def test_lines_that_pass_pass_as_they_are_and_in_order() -> None:
    lines = b"\r\nX-A:1\r\nx-a: 2 \r\nX-B:\tJ\xfcrgen\r\nX-A:1"
    for grammar in (RequestGrammar(), RequestGrammar((b"x-a",))):
        for _ in range(3):
            assert grammar.parse(b"GET / HTTP/1.1" + lines + b"\r\nHost: a").fields == lines
    assert field_lines(lines)[1] == (b"x-a", b"2")


def test_routing_reads_the_first_value_whatever_becomes_of_the_field() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6\r\nX-User-Id: u1\r\nx-user-id: u2"
    request = RequestGrammar(INTEREST).parse(head)
    assert request.values == {b"host": b"a", b"x-forwarded-for": b"6", b"x-user-id": b"u1"}
    assert request.fields == b"\r\nX-User-Id: u1\r\nx-user-id: u2"


def test_names_forgotten_in_the_middle_of_a_head_change_nothing() -> None:
    grammar = RequestGrammar()
    start = b"GET / HTTP/1.1\r\nHost: a"
    for number in range(REMEMBERED + 50):
        head = start + b"\r\nX-%d: a\r\nX-%d: b" % (number, number - 1)
        assert grammar.parse(head).fields.count(b"\r\n") == 2
