"""What must hold for any bytes whatever: for the coverage-guided targets and the bounded run alike.

* A head is read or refused: nothing but a protocol error comes out.
* Every implementation of the grammar, with whatever it has read before, reads it alike.
* A beginning that is refused belongs to a head that is refused: slices do not matter.
* What is accepted means the same to h11 and llhttp.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.errors import ClientProtocolError, UpstreamProtocolError
from gateway.chunks import ChunkDecoder, ChunkError
from gateway.head import RequestGrammar, ResponseGrammar, ResponseHead, after_blank_lines, incomplete
from tests.support.grammars import (
    GRAMMARS,
    PURE,
    read_request,
    read_response,
    request_grammar,
    response_grammar,
)
from tests.support.other_parsers import same_chunks, same_request, same_response

INTEREST = (b"x-user-id", b"x-request-id", b"host", b"x-forwarded-for", b"content-length")
"""Fields that routing reads: some that pass, some that are taken out."""
BLANK = b"\r\n\r\n"
REQUEST_PARTS = (
    "method", "target", "path", "minor", "fields", "keep_alive", "content_length", "chunked",
    "expects_continue", "request_id", "values",
)  # fmt: skip
PLACES = 9
"""Beginnings tried of one head, beside the last few bytes'."""

Outcome = tuple[object, ...]


class Heads:
    """Examines heads one after another; its grammars remember what they have read."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self._requests = [request_grammar(name, INTEREST) for name in GRAMMARS]
        self._responses = [response_grammar(name) for name in GRAMMARS]

    def examine(self, data: bytes) -> None:
        """Fails when the head that starts `data`, of a response if it looks like one, breaks an invariant."""
        if data.startswith(b"HTTP/"):
            self._response(_head(data))
        else:
            self._request(_head(after_blank_lines(data)))

    def _request(self, head: bytes) -> None:
        read = _request(request_grammar(PURE, INTEREST), head)
        for grammar in self._requests:
            assert _request(grammar, head) == read, "another grammar, or one that remembers, reads it alike"
        refused = read[0] == "refused"
        for beginning in _beginnings(head + BLANK):
            hopeless = _hopeless(beginning)
            assert refused or not hopeless, "a good head has no hopeless beginning"
            for grammar in self._requests:
                assert _begun(grammar, beginning) == hopeless
        self._count(refused)
        if not refused:
            same_request(head, read_request(request_grammar(PURE, INTEREST), head))

    def _response(self, head: bytes) -> None:
        read = _response(response_grammar(PURE), head)
        for grammar in self._responses:
            assert _response(grammar, head) == read, "another grammar, or one that remembers, reads it alike"
        refused = read[0] == "refused"
        self._count(refused)
        if not refused:
            same_response(head, read_response(response_grammar(PURE), head))

    def _count(self, refused: bool) -> None:
        self.refused += refused
        self.accepted += not refused


def examine_chunks(data: bytes, size: int) -> bool:
    """Fails when `data` as a chunked body breaks an invariant; True when it is one. `size`: bytes a slice."""
    whole = _decoded(data, max(len(data), 1))
    assert _decoded(data, size) == whole, "slices do not matter"
    assert _decoded(data, 1) == whole
    if whole is None or not whole[0]:
        return False
    _, body, rest = whole
    assert rest == data[len(data) - len(rest) :]
    same_chunks(data[: len(data) - len(rest)], body)
    return True


def _head(data: bytes) -> bytes:
    return (data + BLANK).partition(BLANK)[0]


def _request(grammar: RequestGrammar, head: bytes) -> Outcome:
    """All that reading `head` gives: its parts, or the refusal."""
    try:
        message = read_request(grammar, head)
    except ClientProtocolError as error:
        return "refused", error.status_hint, error.reason
    return tuple(getattr(message, part) for part in REQUEST_PARTS)


def _response(grammar: ResponseGrammar, head: bytes) -> Outcome:
    try:
        response = read_response(grammar, head)
    except UpstreamProtocolError as error:
        return "refused", error.reason
    return tuple(getattr(response, part) for part in ResponseHead.__slots__)


def _beginnings(data: bytes) -> Iterator[bytes]:
    """Some beginnings of `data`, which ends with its blank line; never all of it."""
    last = len(data) - 1
    for at in {*(last * place // PLACES for place in range(1, PLACES)), last, last - 1, last - 2}:
        yield data[:at]


def _hopeless(beginning: bytes) -> bool:
    try:
        incomplete(beginning)
    except ClientProtocolError:
        return True
    return False


def _begun(grammar: RequestGrammar, beginning: bytes) -> bool:
    """Whether `grammar` refuses a head of which only `beginning` is there."""
    try:
        assert grammar.read(beginning) is None, "it is not whole"
    except ClientProtocolError:
        return True
    return False


def _decoded(data: bytes, size: int) -> tuple[bool, bytes, bytes] | None:
    """Whether it is whole, the body so far and what comes behind it; None for a refusal."""
    decoder = ChunkDecoder()
    body = b""
    for at in range(0, len(data), size):
        try:
            body += b"".join(decoder.feed(data[at : at + size]))
        except ChunkError:
            return None
        if decoder.done:
            return True, body, decoder.rest + data[at + size :]
    return False, body, b""
