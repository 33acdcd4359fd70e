"""Strict parsing of HTTP/1.1 request and response heads (RFC 9110, RFC 9112).

The problem: a proxy that reads a head otherwise than the server behind it can be made to smuggle requests,
and a proxy that builds an object per header is slow. The guarantee: a head is either refused with the
status that the RFC asks for, or every line of it is `token ":" field-value CRLF` and its framing has one
meaning.

How it stays cheap: one look-up per line tells what its name means, the bytes of the whole head are checked
at once, in C, and most lines travel on as the bytes they came as. Where it was compiled, `gateway._scan`
reads ordinary heads in one pass; elsewhere `gateway.shapes` reads those whose fields came in the same order
before. Both hand back whatever they cannot tell, so that this module alone decides what is refused, and why;
all read every head alike (`tests/conformance/http`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import filterfalse
from typing import Final

from domain.errors import ClientProtocolError, UpstreamProtocolError
from domain.media import Media
from gateway import accelerator
from gateway.fields import (
    CODING,
    CONNECTION,
    DROP,
    EXPECT,
    FRESH,
    HOST,
    LENGTH,
    LONGEST_REMEMBERED,
    MEDIA,
    PASS,
    REMEMBERED,
    REQUEST_ID,
    REQUEST_KINDS,
    REQUEST_PREFIXES,
    RESPONSE_KINDS,
    RESPONSE_PREFIXES,
    VIA,
    WANTED,
    FieldNames,
    body_length,
    connection,
    has_foreign_bytes,
    is_host,
    is_name,
)  # fmt: skip
from gateway.message import IN_CHUNKS, NO_LENGTH, RequestMessage
from gateway.shapes import Shapes

_scan: Final = accelerator.extension("gateway._scan")
ACCELERATED: Final = _scan is not None
"""Whether heads are read by the compiled scan."""

MAX_HEAD: Final = 64 * 1024
"""Bytes in a request's or response's head."""
MAX_FIELDS: Final = 100
MAX_TARGET: Final = 16 * 1024
"""Bytes in a request line."""
HEADS_REMEMBERED: Final = 256
"""Different response heads of one server."""
LONGEST_HEAD_REMEMBERED: Final = 4096

OrdinaryHead = tuple[
    bytes, bytes, bytes, bytes, int, bytes, int, dict[bytes, bytes] | None, bool,
]  # fmt: skip
"""What the scan reads of a request: see `_scan.RequestScan.read`."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)([/?].*)?")
_REQUEST_ID = re.compile(rb"[0-9A-Za-z._~:\-]{1,128}")
_BLANK_LINES = re.compile(rb"(?:\r\n)++")


class ResponseHead:
    """One response's head, read; not to be changed, for it may be shared.

    `raw` is the head with its blank line, `end` its length. `reason` is the status and its phrase; `fields`
    as in RequestMessage, but Content-Length stays in it. `media` is as in domain.observation. `final_length`
    is the body's length where the head alone settles it: a final answer that is neither in chunks nor 204 nor
    304; else NO_LENGTH.
    """

    __slots__ = (
        "chunked", "content_length", "end", "fields", "final_length", "keep_alive", "media", "minor", "raw",
        "reason", "status",
    )  # fmt: skip

    status: int
    reason: bytes
    minor: int
    fields: bytes
    content_length: int
    final_length: int
    chunked: bool
    keep_alive: bool
    media: str
    raw: bytes
    end: int


class RequestGrammar:
    """Parses request heads; `interest` names the fields (lower case) whose values routing reads."""

    def __init__(
        self, interest: Iterable[bytes] = (), *, accelerated: bool = ACCELERATED, shaped: bool = True
    ) -> None:
        """`accelerated` where it was compiled, else `shaped`: what reads the ordinary heads."""
        wanted = frozenset(interest)
        self._names = FieldNames(REQUEST_KINDS, REQUEST_PREFIXES, wanted, twins=True)
        self._lines: dict[bytes, tuple[bytes, bytes, bytes, int]] = {}
        self._hosts: set[bytes] = set()
        self._scan: Callable[[bytes], OrdinaryHead | None] | None = None
        self._shapes: Shapes | None = None
        if accelerated and _scan is not None:
            self._scan = _scan.RequestScan(tuple(sorted(wanted))).read
        elif shaped:
            self._shapes = Shapes(self._lines, self._hosts)

    def read(self, data: bytes) -> RequestMessage | None:
        """The request whose head starts `data`; None when the head is not whole yet.

        Raises ClientProtocolError with the status to answer. The connection cannot be used afterwards.
        """
        scan = self._scan
        if scan is not None:
            head = scan(data)
            if head is not None:
                return _ordinary(head)
        elif self._shapes is not None:
            message = self._shapes.read(data)
            if message is not None:
                return message
        end = data.find(b"\r\n\r\n")
        if end < 0:
            incomplete(data)
            return None
        if end > MAX_HEAD:
            raise ClientProtocolError(f"the request head is over {MAX_HEAD} bytes", 431)
        return self.parse(data[:end])

    def parse(self, head: bytes) -> RequestMessage:
        """Parse `head`: the bytes before the blank line, which must be whole. Raises as `read` does."""
        lines = head.split(b"\r\n")
        if len(lines) > MAX_FIELDS + 1:
            raise ClientProtocolError(f"more than {MAX_FIELDS} header fields", 431)
        message = RequestMessage()
        first = lines[0]
        line = self._lines.get(first) or self._request_line(first, head)
        message.method, message.target, message.path, message.minor = line
        if has_foreign_bytes(head, len(lines)):
            raise _explain_request(head)
        names = self._names
        kinds = names.kinds
        noted: list[tuple[int, bytes, bytes]] = []
        lines[0] = b""
        for field in [*filterfalse(names.plain.__contains__, lines)]:
            name = field[: field.find(b":") + 1]
            kind = kinds.get(name)
            if kind is None:
                kind = self._learn(name, head)
            if kind == FRESH:
                names.remember(name, field)
            elif kind:
                noted.append((kind, name, field[len(name) :].strip(b" \t")))
                if kind & ~WANTED not in (PASS, VIA):
                    lines.remove(field)
        message.fields = b"\r\n".join(lines)
        self._note(message, noted)
        message.end = end = len(head) + 4
        length = message.content_length
        message.whole_at = IN_CHUNKS if message.chunked else end + length if length > 0 else end
        if self._shapes is not None:
            self._shapes.missed(head, names.kinds)
        return message

    def _learn(self, name: bytes, head: bytes) -> int:
        try:
            return self._names.learn(name)
        except ClientProtocolError:
            raise _explain_request(head) from None

    def _request_line(self, line: bytes, head: bytes) -> tuple[bytes, bytes, bytes, int]:
        if len(line) > MAX_TARGET:
            raise ClientProtocolError(f"the request line is over {MAX_TARGET} bytes", 414)
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise _explain_request(head)
        method, target, major, minor = match.groups()
        if major != b"1":
            raise ClientProtocolError("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)
        origin, path = _read_target(method, target)
        read = (method, origin, path, 0 if minor == b"0" else 1)
        if path is origin and len(line) <= LONGEST_REMEMBERED:
            if len(self._lines) >= REMEMBERED:
                self._lines.clear()
            self._lines[line] = read
        return read

    def _note(self, message: RequestMessage, noted: list[tuple[int, bytes, bytes]]) -> None:
        """Act on the fields that mean something."""
        length = NO_LENGTH
        hosts = 0
        nominated: bytes | None = None
        request_id = b""
        minor = message.minor
        for kind, name, value in noted:
            if kind >= WANTED:
                if message.values is None:
                    message.values = {}
                message.values.setdefault(name[:-1].lower(), value)
                kind -= WANTED  # noqa: PLW2901 - what is left is what the name means by itself
            if kind == HOST:
                hosts += 1
                if value not in self._hosts:
                    self._learn_host(value)
            elif kind == LENGTH:
                if length != NO_LENGTH:
                    raise ClientProtocolError("more than one Content-Length")
                length = body_length(value)
            elif kind == CONNECTION:
                nominated = value if nominated is None else nominated + b"," + value
            elif kind == REQUEST_ID:
                if not request_id and _REQUEST_ID.fullmatch(value):
                    request_id = value
            elif kind != PASS and kind != DROP:
                _note_rare(message, kind, value)
        if message.chunked and (length != NO_LENGTH or minor == 0):
            raise ClientProtocolError("Transfer-Encoding with Content-Length, or in HTTP/1.0")
        if hosts != 1 and (hosts or minor):
            raise ClientProtocolError("a request has exactly one Host field")
        message.content_length = length
        message.request_id = request_id
        message.keep_alive = minor == 1
        if nominated is not None and (nominated != b"keep-alive" or not minor):
            message.keep_alive, message.fields = connection(nominated, minor == 1, message.fields)

    def _learn_host(self, value: bytes) -> None:
        if not is_host(value):
            raise ClientProtocolError("the Host field is not a host")
        if len(value) <= LONGEST_REMEMBERED:
            if len(self._hosts) >= REMEMBERED:
                self._hosts.clear()
            self._hosts.add(value)


def _ordinary(head: OrdinaryHead) -> RequestMessage:
    """What the scan has read, made a message here, where both are compiled: it sets what it finds by name."""
    message = RequestMessage()
    method, target, path, fields, length, request_id, end, values, via = head
    message.method = method
    message.target = target
    message.path = path
    message.minor = 1
    message.fields = fields
    message.keep_alive = True
    message.content_length = length
    message.request_id = request_id
    message.end = end
    message.whole_at = end + length if length > 0 else end
    message.values = values
    message.via = via
    return message


def _note_rare(message: RequestMessage, kind: int, value: bytes) -> None:
    if kind == CODING:
        if message.chunked:
            raise ClientProtocolError("more than one Transfer-Encoding")
        if value.lower() != b"chunked":
            raise ClientProtocolError("the only transfer coding understood is chunked", 501)
        message.chunked = True
    elif kind == EXPECT:
        if value.lower() != b"100-continue":
            raise ClientProtocolError("the only expectation understood is 100-continue", 417)
        message.expects_continue = message.minor == 1
    elif kind == VIA:
        message.via = True


class ResponseGrammar:
    """Parses one server's response heads. They mostly repeat but for the date: whole heads are remembered.

    `last` is the head that was read last, for a look before any parsing.
    """

    __slots__ = ("_heads", "_names", "_scan", "last")

    def __init__(self, *, accelerated: bool = ACCELERATED) -> None:
        self._names = FieldNames(RESPONSE_KINDS, RESPONSE_PREFIXES, frozenset(), twins=False)
        self._heads: dict[bytes, ResponseHead] = {}
        self.last: ResponseHead | None = None
        self._scan: Callable[[bytes], ResponseHead | None] | None = None
        if accelerated and _scan is not None:
            self._scan = _scan.ResponseScan(ResponseHead).read

    def read(self, data: bytes) -> ResponseHead | None:
        """The head that starts `data`; None when it is not whole yet. Raises UpstreamProtocolError."""
        scan = self._scan
        if scan is not None:
            head = scan(data)
            if head is not None:
                self.last = head
                return head
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MAX_HEAD + 3:
                raise UpstreamProtocolError(f"its response head is over {MAX_HEAD} bytes")
            if not data.startswith(b"HTTP/1."[: len(data)]):
                raise UpstreamProtocolError("its response does not begin with HTTP/1.")
            return None
        self.last = head = self.parse(data[:end])
        return head

    def parse(self, head: bytes) -> ResponseHead:
        """Parse the bytes before a response's blank line. Raises UpstreamProtocolError."""
        known = self._heads.get(head)
        if known is not None:
            return known
        response = self._read(head)
        if len(head) <= LONGEST_HEAD_REMEMBERED:
            if len(self._heads) >= HEADS_REMEMBERED:
                self._heads.clear()
            self._heads[head] = response
        return response

    def _read(self, head: bytes) -> ResponseHead:
        lines = head.split(b"\r\n")
        first = lines[0]
        status = _STATUS_LINE.fullmatch(first)
        if status is None:
            raise UpstreamProtocolError("its response head is not HTTP/1.1")
        if len(head) > MAX_HEAD:
            raise UpstreamProtocolError(f"its response head is over {MAX_HEAD} bytes")
        if len(lines) > MAX_FIELDS + 1:
            raise UpstreamProtocolError(f"its response has more than {MAX_FIELDS} header fields")
        if has_foreign_bytes(head, len(lines)):
            raise UpstreamProtocolError("its response head has bytes that no field has")
        response = ResponseHead()
        response.status = int(status.group(2))
        response.minor = 0 if status.group(1) == b"0" else 1
        response.reason = first[9:]
        names = self._names
        noted: list[tuple[int, bytes, bytes]] = []
        # Such an answer has no Content-Length (RFC 9110, 8.6), and one that it has anyway means nothing.
        bodiless = response.status < 200 or response.status == 204
        lines[0] = b""
        try:
            for line in [*filterfalse(names.plain.__contains__, lines)]:
                name = line[: line.find(b":") + 1]
                kind = names.kinds.get(name)
                if kind is None:
                    kind = names.learn(name)
                if kind == FRESH:
                    names.remember(name, line)
                elif kind:
                    noted.append((kind, name, line[len(name) :].strip(b" \t")))
                    if kind != MEDIA and (kind != LENGTH or bodiless):
                        lines.remove(line)
            response.fields = b"\r\n".join(lines)
            _note_response(response, noted)
        except ClientProtocolError as error:
            raise UpstreamProtocolError(f"its response: {error.reason}") from None
        response.raw = head + b"\r\n\r\n"
        response.end = len(head) + 4
        return response


def _note_response(response: ResponseHead, noted: list[tuple[int, bytes, bytes]]) -> None:
    length = NO_LENGTH
    chunked = False
    nominated: bytes | None = None
    media: list[tuple[bytes, bytes]] = []
    for kind, name, value in noted:
        if kind == LENGTH:
            if length != NO_LENGTH:
                raise UpstreamProtocolError("its response has more than one Content-Length")
            length = body_length(value)
        elif kind == CONNECTION:
            nominated = value if nominated is None else nominated + b"," + value
        elif kind == MEDIA:
            if value != b"application/json":  # what is nearly always said, and said of nearly nothing else
                media.append((name, value))
        elif kind == CODING:
            if chunked or response.minor == 0 or value.lower() != b"chunked":
                raise UpstreamProtocolError("its response has a transfer coding other than one chunked")
            chunked = True
    if chunked and length != NO_LENGTH:
        raise UpstreamProtocolError("its response has both Transfer-Encoding and Content-Length")
    response.content_length = length
    response.chunked = chunked
    settled = response.status >= 200 and response.status not in (204, 304) and not chunked
    response.final_length = length if settled else NO_LENGTH
    response.media = media_of(media) if media else ""
    response.keep_alive = response.minor == 1
    if nominated is not None:
        response.keep_alive, response.fields = connection(nominated, response.keep_alive, response.fields)


def media_of(noted: Iterable[tuple[bytes, bytes]]) -> str:
    """How a body is written, as in domain.observation, from (name with its colon, value) of its fields."""
    values = {name[:-1].lower(): value.decode("latin-1") for name, value in noted}
    media = Media.from_fields(
        values.get(b"content-type", ""),
        values.get(b"content-encoding", ""),
        values.get(b"inference-header-content-length", ""),
    )
    return media.text()


def after_blank_lines(data: bytes) -> bytes:
    """`data` without the empty lines that a client may send before a request (RFC 9112, 2.2)."""
    blank = _BLANK_LINES.match(data)
    return data if blank is None else data[blank.end() :]


def incomplete(data: bytes) -> None:
    """Refuse a head that is not whole yet but can never become right, so that nobody waits for it.

    Raises ClientProtocolError.
    """
    if len(data) > MAX_HEAD + len(b"\r\n\r"):
        raise ClientProtocolError(f"the request head is over {MAX_HEAD} bytes", 431)
    crlfs = data.count(b"\r\n")
    if data.count(b"\n") != crlfs or data.count(b"\r") - data.endswith(b"\r") != crlfs:
        raise ClientProtocolError("a bare CR or LF in the request head")
    end = data.find(b"\r\n")
    if (len(data.removesuffix(b"\r")) if end < 0 else end) > MAX_TARGET:
        raise ClientProtocolError(f"the request line is over {MAX_TARGET} bytes", 414)
    if end >= 0 and _REQUEST_LINE.fullmatch(data, 0, end) is None:
        raise _explain_request(data[:end])


def _read_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Origin-form and path; the same object twice when there is no query."""
    if target[0] != 0x2F:
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            target = absolute.group(2) or b"/"
            if target[0] == 0x3F:
                target = b"/" + target
        elif target != b"*" and method != b"CONNECT":
            raise ClientProtocolError("the request target is neither a path nor an http URL")
    if b"#" in target:
        raise ClientProtocolError("a request target has no fragment")
    query = target.find(b"?")
    return target, target if query < 0 else target[:query]


def _explain_request(head: bytes) -> ClientProtocolError:
    """Why `head` did not match, for the client's problem document."""
    if head.count(b"\n") != head.count(b"\r\n") or head.count(b"\r") != head.count(b"\r\n"):
        return ClientProtocolError("a bare CR or LF in the request head")
    line, _, fields = head.partition(b"\r\n")
    if _REQUEST_LINE.fullmatch(line) is None:
        return ClientProtocolError("the request line is not 'METHOD target HTTP/1.1'")
    for field in fields.split(b"\r\n"):
        if field[:1] in (b" ", b"\t"):
            return ClientProtocolError("a folded header line (obs-fold)")
        name, colon, _ = field.partition(b":")
        if not colon or not is_name(name):
            return ClientProtocolError("a header line without a valid name and colon")
    return ClientProtocolError("a control character in a header value")
