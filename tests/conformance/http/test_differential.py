"""What we accept, h11 and llhttp (Node's parser) accept too, and read as the same message.

A gateway that reads a message otherwise than the server behind it can be made to smuggle; so whatever our
grammar lets through is read again by two parsers that others wrote. Where we are stricter nothing is
compared: that is what `test_requests.py` and `test_responses.py` list case by case.

Where we accept and another parser does not, and why it does no harm:

* llhttp knows a list of methods; any token is a method to us (RFC 9110, 9.1), and `client.METHODS` follows.
* llhttp knows minor versions 0 and 1; RFC 9110, 2.5 has HTTP/1.2 to 1.9 read as 1.1, and we write 1.1.
* CONNECT and Upgrade end HTTP in llhttp; we answer CONNECT with 405 and drop Upgrade.
* llhttp keeps an HTTP/1.0 connection alive that says both `close` and `keep-alive`; h11 none of HTTP/1.0.
* llhttp takes Proxy-Connection for Connection; nothing standard does, and we drop it.
* llhttp does not know `chunked` with a tab behind it; RFC 9112, 5 has blanks around a value not be part of it.
* llhttp wants an authority to be made of a host's bytes; we throw an absolute target's authority away.
* RFC 9112, 7.1.1 allows blanks before a chunk extension's semicolon; h11 and llhttp refuse them.
* h11 and llhttp read a trailer called Content-Length or Transfer-Encoding as framing; we drop all trailers.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ClientProtocolError, UpstreamProtocolError
from gateway.chunks import ChunkDecoder, ChunkError
from gateway.client import MAX_HELD
from gateway.head import NO_LENGTH, RequestGrammar, RequestHead, ResponseGrammar, ResponseHead
from tests.support.gateway import PATH, Running, endpoint, gateway, post
from tests.support.heads import METHODS, field_lines, request_head, response_head
from tests.support.upstream import ScriptedUpstream, response, saying

SEEDS = st.integers(0, 2**32 - 1)
SWEPT = 4000
"""Heads per sweep."""
FOREIGN = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
ELSEWHERE = re.compile(rb"(?i)\n(?:upgrade:|proxy-connection:|transfer-encoding:[^\r]*\t *(?:\r|\Z))")
"""Fields that llhttp reads in its own way."""
FOLLOWING = b"GET /following HTTP/1.1\r\nHost: models\r\n\r\n"
LONGEST_BODY = 1000

REQUEST_DROPS = {
    b"host", b"content-length", b"connection", b"transfer-encoding", b"expect", b"x-request-id", b"keep-alive",
    b"proxy-connection", b"te", b"trailer", b"upgrade", b"forwarded", b"x-real-ip",
}  # fmt: skip
REQUEST_DROPPED_PREFIXES = (b"x-pointsman-", b"x-forwarded-", b"x-envoy-")
RESPONSE_DROPS = {
    b"connection", b"transfer-encoding", b"x-request-id", b"keep-alive", b"proxy-connection", b"te", b"trailer",
    b"upgrade",
}  # fmt: skip
NOT_NOMINABLE = {b"close", b"keep-alive", b"host", b"content-length", b"content-type", b"content-encoding"}

Fields = list[tuple[bytes, bytes]]


class Read:
    """A message as another parser read it."""

    def __init__(self) -> None:
        self.method = b""
        self.status = 0
        self.target = b""
        self.fields: Fields = []
        self.body = b""
        self.keep_alive: bool | None = None
        self.following = b""

    @property
    def content_length(self) -> int:
        return next((int(value) for name, value in self.fields if name == b"content-length"), NO_LENGTH)

    @property
    def chunked(self) -> bool:
        return any(n == b"transfer-encoding" and v.lower() == b"chunked" for n, v in self.fields)


class Llhttp(Read):
    """The callbacks of httptools."""

    def __init__(self) -> None:
        super().__init__()
        self._messages = 0
        self._in_head = True
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None

    def on_url(self, url: bytes) -> None:
        if self._messages:
            self.following += url
        else:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if not self._messages and self.parser is not None:
            self.keep_alive = self.parser.should_keep_alive()
            if isinstance(self.parser, httptools.HttpRequestParser):
                self.method = self.parser.get_method()
        self._messages += 1


def _body(head: RequestHead | ResponseHead) -> tuple[bytes, bytes]:
    """A body for `head`: as it travels, and what it says."""
    if head.chunked:
        return b"4;a=b\r\nrain\r\n0\r\nx-t: 1\r\n\r\n", b"rain"
    content = b"x" * max(min(head.content_length, LONGEST_BODY), 0)
    return content, content


def _left_to_pass(read: Read, drops: set[bytes], prefixes: tuple[bytes, ...], *, twins: bool) -> Fields:
    """What of the fields another parser read we must pass on; `twins`: '_' in a name is dropped as '-' is."""
    nominated = {
        option.strip(b" \t")
        for name, value in read.fields
        if name == b"connection"
        for option in value.lower().split(b",")
    }
    gone = nominated - NOT_NOMINABLE
    return [
        (name, value)
        for name, value in read.fields
        if name not in gone
        and (hyphened := name.replace(b"_", b"-") if twins else name) not in drops
        and not hyphened.startswith(prefixes)
    ]


def _origin_form(target: bytes) -> bytes:
    if target.startswith(b"/") or b"://" not in target:
        return target
    _, _, rest = target.partition(b"://")
    path = re.sub(rb"\A[^/?]*", b"", rest)
    return path if path.startswith(b"/") else b"/" + path


def _by_h11(head: bytes, body: bytes) -> Read:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(head + b"\r\n\r\n" + body + FOLLOWING)
    read = Read()
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    read.method, read.target, read.fields = event.method, event.target, list(event.headers)
    while isinstance(event := connection.next_event(), h11.Data):
        read.body += event.data
    if isinstance(event, h11.EndOfMessage):
        read.keep_alive = connection.their_state is h11.DONE
        read.following = connection.trailing_data[0]
    return read


def _by_llhttp(head: bytes, body: bytes, following: bytes) -> Read:
    read = Llhttp()
    read.parser = httptools.HttpRequestParser(read)
    read.parser.feed_data(head + b"\r\n\r\n" + body + following)
    return read


def _agrees_with_h11(head: bytes, ours: RequestHead) -> None:
    raw, content = _body(ours)
    read = _by_h11(head, raw)
    assert ours.method == read.method
    assert ours.method == b"CONNECT" or ours.target == _origin_form(read.target)
    assert (ours.content_length, ours.chunked) == (read.content_length, read.chunked)
    assert read.body == content or ours.content_length > LONGEST_BODY
    assert field_lines(ours.fields or b"") == _left_to_pass(
        read, REQUEST_DROPS, REQUEST_DROPPED_PREFIXES, twins=True
    )
    if read.keep_alive is not None:
        assert read.following == FOLLOWING, "both end the message at the same byte"
        if ours.minor and ours.method != b"CONNECT" and b"upgrade" not in dict(read.fields):
            assert ours.keep_alive == read.keep_alive


def _agrees_with_llhttp(head: bytes, ours: RequestHead) -> None:
    line = head.split(b"\r\n")[0]
    if ours.method not in METHODS or line[-8:] not in (b"HTTP/1.1", b"HTTP/1.0"):
        return
    if ours.method == b"CONNECT" or re.match(rb"\S+ [^/*]", line) or ELSEWHERE.search(head):
        return
    raw, content = _body(ours)
    read = _by_llhttp(head, raw, FOLLOWING if ours.keep_alive else b"")
    assert ours.method == read.method or ours.content_length > LONGEST_BODY
    assert ours.target == read.target
    assert (ours.content_length, ours.chunked) == (read.content_length, read.chunked)
    assert field_lines(ours.fields or b"") == _left_to_pass(
        read, REQUEST_DROPS, REQUEST_DROPPED_PREFIXES, twins=True
    )
    if ours.content_length <= LONGEST_BODY:
        assert read.body == content
        options = b",".join(v for n, v in read.fields if n == b"connection").lower()
        both = not ours.minor and b"close" in options and b"keep-alive" in options
        assert ours.keep_alive == read.keep_alive or both
        assert read.following == (b"/following" if ours.keep_alive else b"")


def _check_request(head: bytes) -> bool:
    try:
        ours = RequestGrammar((b"x-user-id",)).parse(head)
    except ClientProtocolError:
        return False
    assert not FOREIGN.search(ours.fields.replace(b"\r\n", b"")), head
    assert not FOREIGN.search(ours.target + ours.method + b"".join((ours.values or {}).values()))
    _agrees_with_h11(head, ours)
    _agrees_with_llhttp(head, ours)
    return True


@settings(deadline=None, max_examples=200)
@given(SEEDS)
def test_a_request_that_we_accept_is_the_same_request_to_others(seed: int) -> None:
    _check_request(request_head(Random(seed)))


def test_thousands_of_request_heads_are_read_as_others_read_them() -> None:
    random = Random(1)
    accepted = sum(_check_request(request_head(random)) for _ in range(SWEPT))
    assert SWEPT * 0.2 < accepted < SWEPT * 0.8, "both valid and invalid heads were tried"


@settings(deadline=None, max_examples=200)
@given(
    name=st.binary(min_size=0, max_size=6),
    value=st.binary(max_size=8),
    at=st.sampled_from([b"X-A", b"Content-Length", b"Host", b"Transfer-Encoding", b"Connection"]),
)
def test_no_bytes_around_a_name_make_it_another_field(name: bytes, value: bytes, at: bytes) -> None:
    for line in (at + name + b":" + value, name + at + b":" + value, at + b":" + name + b"4" + value):
        _check_request((b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n").split(b"\r\n\r\n")[0])


# ---- responses ------------------------------------------------------------------------------------------


def _response_by_h11(head: bytes, body: bytes) -> Read:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "models")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head + b"\r\n\r\n" + body)
    event = connection.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    read = Read()
    read.status, read.fields = event.status_code, list(event.headers)
    if isinstance(event, h11.Response):
        while isinstance(event := connection.next_event(), h11.Data):
            read.body += event.data
        if isinstance(event, h11.EndOfMessage):
            read.keep_alive = connection.their_state is h11.DONE
    return read


def _response_by_llhttp(head: bytes, body: bytes) -> Read:
    read = Llhttp()
    read.parser = httptools.HttpResponseParser(read)
    read.parser.feed_data(head + b"\r\n\r\n" + body)
    read.status = read.parser.get_status_code()
    return read


def _check_response(head: bytes) -> bool:
    try:
        ours = ResponseGrammar().parse(head)
    except UpstreamProtocolError:
        return False
    assert not FOREIGN.search((ours.fields + ours.reason).replace(b"\r\n", b""))
    bodiless = ours.status < 200 or ours.status == 204
    raw, content = (b"", b"") if bodiless else _body(ours)
    others = [_response_by_h11(head, raw)]
    if not ELSEWHERE.search(head):
        others.append(_response_by_llhttp(head, raw))
    for read in others:
        assert ours.status == read.status
        assert (ours.content_length, ours.chunked) == (read.content_length, read.chunked)
        assert _lengths_as_numbers(field_lines(ours.fields)) == _lengths_as_numbers(
            _left_to_pass(read, RESPONSE_DROPS, (b"x-pointsman-",), twins=False)
        )
        assert read.body == content or ours.content_length > LONGEST_BODY
    framed = not bodiless and (ours.chunked or 0 <= ours.content_length <= LONGEST_BODY)
    if framed and ours.minor:
        assert all(read.keep_alive == ours.keep_alive for read in others)
    return True


def _lengths_as_numbers(fields: Fields) -> list[tuple[bytes, bytes | int]]:
    return [(name, int(value) if name == b"content-length" else value) for name, value in fields]


@settings(deadline=None, max_examples=200)
@given(SEEDS)
def test_an_answer_that_we_accept_is_the_same_answer_to_others(seed: int) -> None:
    _check_response(response_head(Random(seed)))


def test_thousands_of_response_heads_are_read_as_others_read_them() -> None:
    random = Random(2)
    accepted = sum(_check_response(response_head(random)) for _ in range(SWEPT))
    assert SWEPT * 0.2 < accepted < SWEPT * 0.8, "both valid and invalid heads were tried"


# ---- chunked bodies -------------------------------------------------------------------------------------

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

_BLANK_BEFORE_EXTENSION = re.compile(rb"[0-9A-Fa-f]+[ \t]+;")
_FRAMING_TRAILER = re.compile(rb"(?i)\n(content-length|transfer-encoding)[ \t]*:")


@settings(deadline=None, max_examples=500)
@given(_CHUNKY)
def test_a_chunked_body_that_we_accept_is_the_same_body_to_others(data: bytes) -> None:
    decoder = ChunkDecoder()
    try:
        body = b"".join(decoder.feed(data))
    except ChunkError:
        return
    if _BLANK_BEFORE_EXTENSION.search(data) or _FRAMING_TRAILER.search(data):
        return
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"
    raw = data[: len(data) - len(decoder.rest)]
    read = _by_h11(head, raw) if decoder.done else None
    if read is not None:
        assert read.body == body
        assert read.following == FOLLOWING, "both end the body at the same byte"
        other = _by_llhttp(head, raw, FOLLOWING)
        assert (other.body, other.following) == (body, b"/following")


# ---- any bytes at all -----------------------------------------------------------------------------------

_GOOD = post(b"rain")
_CHUNKED_POST = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()
_PIECES = st.one_of(
    st.sampled_from(
        [_GOOD, post(b"x" * 300), _CHUNKED_POST, b"4\r\nrain\r\n", b"0\r\n\r\n", b"\r\n", b"\r\n\r\n", b"\r", b"\n",
         b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % PATH.encode(), b"GET /nowhere HTTP/1.1\r\nHost: a\r\n",
         b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", b"Content-Length: 5\r\n",
         b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"HEAD %b HTTP/1.0\r\n\r\n" % PATH.encode()]
    ),
    st.binary(max_size=12),
    SEEDS.map(lambda seed: request_head(Random(seed)) + b"\r\n\r\n"),
)  # fmt: skip


def _answers(output: bytes) -> list[int]:
    """The statuses of the whole responses; fails when `output` is anything else. (None here answers HEAD.)"""
    statuses: list[int] = []
    while output:
        head, blank, output = output.partition(b"\r\n\r\n")
        if not blank:
            break
        answer = ResponseGrammar().parse(head)
        assert answer.content_length != NO_LENGTH or answer.status < 200
        if len(output) < answer.content_length:
            break
        output = output[max(answer.content_length, 0) :]
        if answer.status >= 200:
            statuses.append(answer.status)
    return statuses


async def _fed(running: Running, data: bytes, size: int) -> bytes:
    """What the gateway says to `data`: at least one answer, unless it may wait for more."""
    client = await running.connect()
    try:
        client.feed(data, size=size)
        if _waits(data):
            client.writer.write_eof()
            return await asyncio.wait_for(client.reader.read(), 10)
        output = b""
        while not _answers(output):
            more = await asyncio.wait_for(client.reader.read(1 << 20), 10)
            assert more, "the gateway closed without an answer"
            output += more
        return output
    finally:
        client.close()


def _waits(data: bytes) -> bool:
    """Whether a server may say nothing to `data`: no whole request is in it, and nothing wrong."""
    data = re.sub(rb"\A(?:\r\n)*", b"", data)
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        return True
    decoder = ChunkDecoder()
    try:
        request = RequestGrammar().parse(head)
        if request.chunked:
            decoder.feed(rest)
            return not decoder.done
    except (ClientProtocolError, ChunkError):
        return False
    return request.content_length > len(rest)


def test_whatever_bytes_come_every_request_is_answered_or_waited_for(tmp_path: Path) -> None:
    @settings(deadline=None, max_examples=250)
    @given(data=st.lists(_PIECES, max_size=5).map(b"".join), size=st.sampled_from([1, 2, 7, 64, 100_000]))
    def examined(data: bytes, size: int) -> None:
        statuses = _answers(runner.run(_fed(running, data.replace(b"HEAD ", b"GET "), size)))
        assert all(status == 200 or 400 <= status < 500 or status in (501, 505) for status in statuses)

    with asyncio.Runner() as runner:
        upstream = ScriptedUpstream(saying(response(b"[0.5]")))
        runner.run(upstream.start())
        serving = gateway(tmp_path, endpoint(upstream.port, max_body=4096))
        running = runner.run(serving.__aenter__())
        try:
            examined()
            answer = runner.run(_fed(running, _GOOD, 100_000))
            assert answer.startswith(b"HTTP/1.1 200 "), "the gateway serves on"
        finally:
            runner.run(serving.__aexit__(None, None, None))
            runner.run(upstream.stop())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_client_that_sends_ahead_is_read_in_order_whatever_the_slices(size: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                data = (_GOOD + _CHUNKED_POST + b"4\r\nrain\r\n0\r\n\r\n") * 5
                assert len(data) < MAX_HELD
                client = await running.connect()
                client.feed(data, size=size)
                for _ in range(10):
                    assert (await asyncio.wait_for(client.response(), 10)).body == b"[0.5]"
                client.close()
            assert [heard.body for heard in upstream.heard] == [b"rain"] * 10

    asyncio.run(scenario())


def test_half_a_request_behind_a_whole_one_is_not_waited_for_once_the_client_closed_its_side(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                try:
                    client.writer.write(_GOOD + _CHUNKED_POST)
                    client.writer.write_eof()
                    assert _answers(await asyncio.wait_for(client.reader.read(), 3))[0] == 200
                finally:
                    client.close()

    asyncio.run(scenario())


class _Effort:
    """Counts the lines of Python that run inside it: a measure of work that no machine changes."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> _Effort:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Callable[..., object]:
        self.lines += 1
        return self._trace


def test_blank_lines_before_a_request_are_skipped_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                with _Effort() as effort:
                    client.server_side.data_received(b"\r\n" * 20_000)
                client.close()
                assert effort.lines < 2000, "each turn of a loop would copy all that is left"

    asyncio.run(scenario())


def test_a_connection_field_costs_no_more_than_its_options() -> None:
    options = 4000
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + b",".join(b"x%d" % n for n in range(options))
    for grammar, start in ((RequestGrammar(), b""), (ResponseGrammar(), b"HTTP/1.1 200 OK")):
        with _Effort() as effort:
            grammar.parse(start + head[head.find(b"\r\n") :] if start else head)
        assert effort.lines < 20 * options, "a pattern compiled for each option"
