"""Two parsers that others wrote, h11 and llhttp (Node's): what we accept must mean the same to them.

A gateway that reads a message otherwise than the server behind it can be made to smuggle. Where we are
stricter nothing is compared: the tables in `tests/conformance/http` list that case by case.

Where we accept and another parser does not, and why it does no harm:

* llhttp knows a list of methods; any token is a method to us (RFC 9110, 9.1), and `client.METHODS` follows.
* llhttp knows minor versions 0 and 1; RFC 9110, 2.5 has HTTP/1.2 to 1.9 read as 1.1, and we write 1.1.
* CONNECT and Upgrade end HTTP in llhttp; we answer CONNECT with 405 and drop Upgrade.
* llhttp keeps an HTTP/1.0 connection alive that says both `close` and `keep-alive`; h11 none of HTTP/1.0.
* llhttp takes Proxy-Connection for Connection; nothing standard does, and we drop it.
* llhttp does not know `chunked` with a tab behind it; RFC 9112, 5 has a value without the blanks around it.
* llhttp wants an authority to be made of a host's bytes; we throw an absolute target's authority away.
* RFC 9112, 7.1.1 allows blanks before a chunk extension's semicolon; h11 and llhttp refuse them.
* What is in a chunk extension does not matter to us, for it is dropped; llhttp has it be names and values.
* h11 and llhttp read a trailer called Content-Length or Transfer-Encoding as framing, and llhttp one called
  Connection or Upgrade as a header; we drop all trailers.
"""

from __future__ import annotations

import re

import h11
import httptools

from gateway.head import ResponseHead
from gateway.message import NO_LENGTH, RequestMessage
from tests.support.heads import METHODS, field_lines

FOREIGN = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
ELSEWHERE = re.compile(rb"(?i)\n(?:upgrade:|proxy-connection:|transfer-encoding:[^\r]*\t *(?:\r|\Z))")
"""Fields that llhttp reads in its own way."""
BLANK_BEFORE_EXTENSION = re.compile(rb"[0-9A-Fa-f]+[ \t]+;")
FRAMING_TRAILER = re.compile(
    rb"(?i)\n(?:content-length|transfer-encoding|connection|proxy-connection|upgrade)[ \t]*:"
)
FOLLOWING = b"GET /following HTTP/1.1\r\nHost: models\r\n\r\n"
LONGEST_BODY = 1000

REQUEST_DROPS = {
    b"host", b"content-length", b"connection", b"transfer-encoding", b"expect", b"x-request-id",
    b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"forwarded", b"x-real-ip",
}  # fmt: skip
REQUEST_DROPPED_PREFIXES = (b"x-pointsman-", b"x-forwarded-", b"x-envoy-")
RESPONSE_DROPS = {
    b"connection", b"transfer-encoding", b"x-request-id", b"keep-alive", b"proxy-connection", b"te",
    b"trailer", b"upgrade",
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


def _body(head: RequestMessage | ResponseHead) -> tuple[bytes, bytes]:
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


def _same_to_h11(head: bytes, ours: RequestMessage) -> None:
    raw, content = _body(ours)
    read = _by_h11(head, raw)
    assert ours.method == read.method
    assert ours.method == b"CONNECT" or ours.target == _origin_form(read.target)
    assert (ours.content_length, ours.chunked) == (read.content_length, read.chunked)
    assert read.body == content or ours.content_length > LONGEST_BODY
    assert field_lines(ours.fields or b"") == _left_to_pass(
        read, REQUEST_DROPS, REQUEST_DROPPED_PREFIXES, twins=True
    )
    if read.keep_alive is not None and ours.content_length <= LONGEST_BODY:
        assert read.following == FOLLOWING, "both end the message at the same byte"
        if ours.minor and ours.method != b"CONNECT" and b"upgrade" not in dict(read.fields):
            assert ours.keep_alive == read.keep_alive


def _same_to_llhttp(head: bytes, ours: RequestMessage) -> None:
    line = head.split(b"\r\n")[0]
    if ours.method not in METHODS or line[-8:] not in (b"HTTP/1.1", b"HTTP/1.0"):
        return
    if ours.method == b"CONNECT" or re.match(rb"\S+ [^/*]", line) or ELSEWHERE.search(head):
        return
    raw, content = _body(ours)
    followed = ours.keep_alive and ours.content_length <= LONGEST_BODY
    read = _by_llhttp(head, raw, FOLLOWING if followed else b"")
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


def same_request(head: bytes, ours: RequestMessage) -> None:
    """Fails when `head`, which we read as `ours`, is another request to another parser."""
    assert not FOREIGN.search((ours.fields or b"").replace(b"\r\n", b"")), head
    assert not FOREIGN.search(ours.target + ours.method + b"".join((ours.values or {}).values()))
    _same_to_h11(head, ours)
    _same_to_llhttp(head, ours)


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


def same_response(head: bytes, ours: ResponseHead) -> None:
    """Fails when `head`, which we read as `ours`, is another answer to another parser."""
    if ours.status == 101:
        return  # nobody asked to switch: the connection refuses it whatever its head says
    assert not FOREIGN.search((ours.fields + ours.reason).replace(b"\r\n", b""))
    bodiless = ours.status < 200 or ours.status in (204, 304)
    raw, content = (b"", b"") if bodiless else _body(ours)
    others = [_response_by_h11(head, raw)]
    if not ELSEWHERE.search(head):
        others.append(_response_by_llhttp(head, raw))
    drops = RESPONSE_DROPS
    if ours.status < 200 or ours.status == 204:
        drops = drops | {b"content-length"}  # which these must not have: RFC 9110, 8.6
    for read in others:
        assert ours.status == read.status
        assert (ours.content_length, ours.chunked) == (read.content_length, read.chunked)
        assert _lengths_as_numbers(field_lines(ours.fields)) == _lengths_as_numbers(
            _left_to_pass(read, drops, (b"x-pointsman-",), twins=False)
        )
        assert read.body == content or ours.content_length > LONGEST_BODY
    framed = not bodiless and (ours.chunked or 0 <= ours.content_length <= LONGEST_BODY)
    if framed and ours.minor:
        assert all(read.keep_alive == ours.keep_alive for read in others)


def _lengths_as_numbers(fields: Fields) -> list[tuple[bytes, bytes | int]]:
    return [(name, int(value) if name == b"content-length" else value) for name, value in fields]


def same_chunks(raw: bytes, body: bytes) -> None:
    """Fails when `raw`, a whole chunked body that we read as `body`, is another body to another parser."""
    if BLANK_BEFORE_EXTENSION.search(raw) or FRAMING_TRAILER.search(raw):
        return
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"
    read = _by_h11(head, raw)
    assert read.body == body
    assert read.following == FOLLOWING, "both end the body at the same byte"
    try:
        other = _by_llhttp(head, raw, FOLLOWING)
    except httptools.HttpParserError as error:
        if "chunk extensions" not in str(error):
            raise
        return
    assert (other.body, other.following) == (body, b"/following")
