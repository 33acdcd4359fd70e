"""What we accept, h11 and llhttp (Node's parser) accept too, and read as the same message.

Generated heads and bodies, right ones and ones that are wrong by a byte. See `tests.support.other_parsers` for
what is compared, and where the three differ on purpose; `tests/fuzz` for the same with mutated cases.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ClientProtocolError, UpstreamProtocolError
from gateway.chunks import ChunkDecoder, ChunkError
from tests.support.grammars import (
    GRAMMARS,
    read_request,
    read_response,
    request_grammar,
    response_grammar,
)
from tests.support.heads import request_head, response_head
from tests.support.other_parsers import same_chunks, same_request, same_response

SEEDS = st.integers(0, 2**32 - 1)
SWEPT = 4000
"""Heads per sweep."""

each_grammar = pytest.mark.parametrize("name", GRAMMARS)


def _check_request(name: str, head: bytes) -> bool:
    try:
        ours = read_request(request_grammar(name, (b"x-user-id",)), head)
    except ClientProtocolError:
        return False
    same_request(head, ours)
    return True


def _check_response(name: str, head: bytes) -> bool:
    try:
        ours = read_response(response_grammar(name), head)
    except UpstreamProtocolError:
        return False
    same_response(head, ours)
    return True


@each_grammar
@settings(deadline=None, max_examples=200)
@given(seed=SEEDS)
def test_a_request_that_we_accept_is_the_same_request_to_others(name: str, seed: int) -> None:
    _check_request(name, request_head(Random(seed)))


@each_grammar
def test_thousands_of_request_heads_are_read_as_others_read_them(name: str) -> None:
    random = Random(1)
    accepted = sum(_check_request(name, request_head(random)) for _ in range(SWEPT))
    assert SWEPT * 0.2 < accepted < SWEPT * 0.8, "both valid and invalid heads were tried"


@each_grammar
@settings(deadline=None, max_examples=200)
@given(
    before=st.binary(min_size=0, max_size=6),
    value=st.binary(max_size=8),
    at=st.sampled_from([b"X-A", b"Content-Length", b"Host", b"Transfer-Encoding", b"Connection"]),
)
def test_no_bytes_around_a_name_make_it_another_field(
    name: str, before: bytes, value: bytes, at: bytes
) -> None:
    for line in (at + before + b":" + value, before + at + b":" + value, at + b":" + before + b"4" + value):
        head = b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"
        _check_request(name, head.split(b"\r\n\r\n")[0])


@each_grammar
@settings(deadline=None, max_examples=200)
@given(seed=SEEDS)
def test_an_answer_that_we_accept_is_the_same_answer_to_others(name: str, seed: int) -> None:
    _check_response(name, response_head(Random(seed)))


@each_grammar
def test_thousands_of_response_heads_are_read_as_others_read_them(name: str) -> None:
    random = Random(2)
    accepted = sum(_check_response(name, response_head(random)) for _ in range(SWEPT))
    assert SWEPT * 0.2 < accepted < SWEPT * 0.8, "both valid and invalid heads were tried"


_CHUNKY = st.lists(
    st.one_of(
        st.sampled_from(
            [b"4\r\nrain\r\n", b"0\r\n\r\n", b"0\r\n", b"\r\n", b"A;x=\"y\"\r\n0123456789\r\n", b"4 ;a\r\nrain\r\n",
             b"x-t: 1\r\n", b"content-length: 4\r\n", b"4", b"\r", b"\n", b"+4", b"0x4", b"00004\r\nrain\r\n", b" ",
             b"fffffffffffffff\r\n", b"4;\x00\r\n", b"3\r\nrain\r\n", b"5\r\nrain\r\n", b"-1\r\n", b"bad trailer\r\n"]
        ),
        st.binary(max_size=4),
    ),
    max_size=6,
).map(b"".join)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(_CHUNKY)
def test_a_chunked_body_that_we_accept_is_the_same_body_to_others(data: bytes) -> None:
    decoder = ChunkDecoder()
    try:
        body = b"".join(decoder.feed(data))
    except ChunkError:
        return
    if decoder.done:
        same_chunks(data[: len(data) - len(decoder.rest)], body)
