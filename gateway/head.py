"""Strict parsing of HTTP/1.1 request and response heads (RFC 9110, RFC 9112).

The problem: a proxy that reads a head otherwise than the server behind it can be made to smuggle requests,
and a proxy that builds an object per header is slow. The guarantee: a head is either refused with the
status that the RFC asks for, or every line of it is `token ":" field-value CRLF` and its framing has one
meaning. Four passes over the bytes, all inside C: one regular expression checks every line whole, the
head is lowered once, one regular expression visits the few fields that a proxy must read or must not pass
on, and the slices between those are joined again untouched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from domain.errors import ClientProtocolError, UpstreamProtocolError

MAX_HEAD = 64 * 1024
"""Bytes in a request's or response's head."""
MAX_FIELDS = 100
MAX_TARGET = 16 * 1024
"""Bytes in a request line."""
MAX_DIGITS = 15
"""Digits in a Content-Length: a petabyte, and far from any overflow."""

NO_LENGTH = -1
"""The head has no Content-Length."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELDS = rb"(?:\r\n" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+)*+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])")
_REQUEST = re.compile(_REQUEST_LINE.pattern + _FIELDS)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?" + _FIELDS)
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)([/?].*)?")
_HOST = re.compile(rb"(?:[0-9A-Za-z._~\-%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_REQUEST_ID = re.compile(rb"[0-9A-Za-z._~:\-]{1,128}")

_HOP_BY_HOP = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)
_FORWARDING = (b"forwarded", b"x-real-ip", rb"x-forwarded-[^:]*", rb"x-envoy-[^:]*")
_OURS = (rb"x-pointsman-[^:]*", b"x-request-id")
_PROTECTED = frozenset(
    (b"close", b"keep-alive", b"host", b"content-length", b"content-type", b"content-encoding")
)
"""What a Connection field may not make us drop: the body would lose its meaning."""


def _field_pattern(names: Iterable[bytes]) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n(" + rb"|".join(names) + rb"):[ \t]*([^\r]*)")


class RequestHead:
    """One request's head, read.

    Attributes:
        target: origin-form, as received (path and query).
        path: the target without its query.
        fields: the lines to pass on, each with its leading CRLF; framing and forwarding fields are taken out.
        content_length: NO_LENGTH when absent.
        values: lower-case name → value of the fields that routing asked for (the first of each), or None.
    """

    __slots__ = (
        "chunked", "content_length", "expects_continue", "fields", "keep_alive", "method", "minor", "path",
        "request_id", "target", "values",
    )  # fmt: skip

    method: bytes
    target: bytes
    path: bytes
    minor: int
    fields: bytes
    content_length: int
    chunked: bool
    expects_continue: bool
    keep_alive: bool
    request_id: bytes | None
    values: dict[bytes, bytes] | None


class RequestGrammar:
    """Parses request heads; `interest` names the fields (lower case) whose values routing reads."""

    def __init__(self, interest: Iterable[bytes] = ()) -> None:
        fixed = (*_HOP_BY_HOP, *_FORWARDING, *_OURS, b"content-length", b"expect", b"host")
        taken_out = re.compile(rb"|".join(fixed))
        self._interest = frozenset(interest)
        self._passed_on = frozenset(name for name in self._interest if taken_out.fullmatch(name) is None)
        self._notable = _field_pattern((*sorted(map(re.escape, self._passed_on)), *fixed))

    def parse(self, head: bytes) -> RequestHead:
        """Parse `head`: the bytes before the blank line, which must be whole.

        Raises ClientProtocolError with the status to answer. The connection cannot be used afterwards.
        """
        line = _REQUEST.fullmatch(head)
        if line is None:
            raise _explain_request(head)
        method, target, major, minor = line.groups()
        if major != b"1":
            raise ClientProtocolError("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)
        lowered = head.lower()
        if lowered.count(b"\r\n") > MAX_FIELDS:
            raise ClientProtocolError(f"more than {MAX_FIELDS} header fields", 431)
        request = RequestHead()
        request.method = method
        request.minor = 0 if minor == b"0" else 1
        request.keep_alive = request.minor == 1
        request.content_length = NO_LENGTH
        request.chunked = request.expects_continue = False
        request.request_id = None
        request.values = None
        self._read_fields(request, head, lowered, line.end(4))
        _read_target(request, target)
        return request

    def _read_fields(self, request: RequestHead, head: bytes, lowered: bytes, start: int) -> None:
        kept: list[bytes] = []
        hosts = 0
        nominated: bytes | None = None
        for field in self._notable.finditer(lowered, start):
            name = field.group(1)
            begin, end = field.span()
            if name in self._interest:
                value = head[field.start(2) : end].rstrip(b" \t")
                if request.values is None:
                    request.values = {name: value}
                else:
                    request.values.setdefault(name, value)
                if name in self._passed_on:
                    continue
            if name == b"host":
                hosts += 1
                if _HOST.fullmatch(field.group(2).rstrip(b" \t")) is None:
                    raise ClientProtocolError("the Host field is not a host")
            elif name == b"content-length":
                if request.content_length != NO_LENGTH:
                    raise ClientProtocolError("more than one Content-Length")
                request.content_length = _length(field.group(2))
            elif name == b"connection":
                value = field.group(2)
                nominated = value if nominated is None else nominated + b"," + value
            elif name == b"transfer-encoding":
                if request.chunked:
                    raise ClientProtocolError("more than one Transfer-Encoding")
                if field.group(2).rstrip(b" \t") != b"chunked":
                    raise ClientProtocolError("the only transfer coding understood is chunked", 501)
                request.chunked = True
            elif name == b"expect":
                if field.group(2).rstrip(b" \t") != b"100-continue":
                    raise ClientProtocolError("the only expectation understood is 100-continue", 417)
                request.expects_continue = request.minor == 1
            elif name == b"x-request-id" and request.request_id is None:
                value = head[field.start(2) : end].rstrip(b" \t")
                if _REQUEST_ID.fullmatch(value):
                    request.request_id = value
            if begin > start:
                kept.append(head[start:begin])
            start = end
        kept.append(head[start:])
        request.fields = b"".join(kept)
        if request.chunked and (request.content_length != NO_LENGTH or request.minor == 0):
            raise ClientProtocolError("Transfer-Encoding with Content-Length, or in HTTP/1.0")
        if hosts != 1 and (hosts or request.minor):
            raise ClientProtocolError("a request has exactly one Host field")
        if nominated is not None:
            request.keep_alive, request.fields = _connection(nominated, request.keep_alive, request.fields)


class ResponseHead:
    """One response's head, read. `fields` as in RequestHead; Content-Length stays in it."""

    __slots__ = ("chunked", "content_length", "fields", "keep_alive", "minor", "reason", "status")

    status: int
    reason: bytes
    minor: int
    fields: bytes
    content_length: int
    chunked: bool
    keep_alive: bool


_RESPONSE_NOTABLE = _field_pattern((*_HOP_BY_HOP, *_OURS, b"content-length"))


def parse_response(head: bytes) -> ResponseHead:
    """Parse the bytes before a response's blank line. Raises UpstreamProtocolError."""
    line = _RESPONSE.fullmatch(head)
    if line is None:
        raise UpstreamProtocolError("its response head is not HTTP/1.1")
    lowered = head.lower()
    if lowered.count(b"\r\n") > MAX_FIELDS:
        raise UpstreamProtocolError(f"its response has more than {MAX_FIELDS} header fields")
    response = ResponseHead()
    response.status = int(line.group(2))
    response.minor = 0 if line.group(1) == b"0" else 1
    response.keep_alive = response.minor == 1
    response.content_length = NO_LENGTH
    response.chunked = False
    start = head.find(b"\r\n")
    if start < 0:
        start = len(head)
    response.reason = head[9:start]
    kept: list[bytes] = []
    nominated: bytes | None = None
    for field in _RESPONSE_NOTABLE.finditer(lowered, start):
        name = field.group(1)
        if name == b"content-length":
            if response.content_length != NO_LENGTH:
                raise UpstreamProtocolError("its response has more than one Content-Length")
            try:
                response.content_length = _length(field.group(2))
            except ClientProtocolError as error:
                raise UpstreamProtocolError(f"its response: {error.reason}") from None
            continue
        if name == b"connection":
            value = field.group(2)
            nominated = value if nominated is None else nominated + b"," + value
        elif name == b"transfer-encoding":
            if response.chunked or response.minor == 0 or field.group(2).rstrip(b" \t") != b"chunked":
                raise UpstreamProtocolError("its response has a transfer coding other than one chunked")
            response.chunked = True
        begin, end = field.span()
        if begin > start:
            kept.append(head[start:begin])
        start = end
    kept.append(head[start:])
    response.fields = b"".join(kept)
    if response.chunked and response.content_length != NO_LENGTH:
        raise UpstreamProtocolError("its response has both Transfer-Encoding and Content-Length")
    if nominated is not None:
        response.keep_alive, response.fields = _connection(nominated, response.keep_alive, response.fields)
    return response


def without_field(fields: bytes, name: bytes) -> bytes:
    """`fields` (lines with leading CRLF) without the lines called `name`."""
    return re.sub(rb"(?i)\r\n" + re.escape(name) + rb":[^\r]*", b"", fields)


def incomplete(data: bytes) -> None:
    """Refuse a head that is not whole yet but can never become right, so that nobody waits for it.

    Raises ClientProtocolError.
    """
    if len(data) > MAX_HEAD:
        raise ClientProtocolError(f"the request head is over {MAX_HEAD} bytes", 431)
    if data.count(b"\n") != data.count(b"\r\n"):
        raise ClientProtocolError("a line ends with a bare LF")
    end = data.find(b"\r\n")
    if end < 0:
        if len(data) > MAX_TARGET:
            raise ClientProtocolError(f"the request line is over {MAX_TARGET} bytes", 414)
    elif _REQUEST_LINE.fullmatch(data, 0, end) is None:
        raise _explain_request(data[:end])


def _read_target(request: RequestHead, target: bytes) -> None:
    if len(target) > MAX_TARGET:
        raise ClientProtocolError(f"the request target is over {MAX_TARGET} bytes", 414)
    if target[0] != 0x2F:
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            target = absolute.group(2) or b"/"
            if target[0] == 0x3F:
                target = b"/" + target
        elif target != b"*" and request.method != b"CONNECT":
            raise ClientProtocolError("the request target is neither a path nor an http URL")
    if b"#" in target:
        raise ClientProtocolError("a request target has no fragment")
    request.target = target
    query = target.find(b"?")
    request.path = target if query < 0 else target[:query]


def _length(value: bytes) -> int:
    digits = value.rstrip(b" \t")
    if not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise ClientProtocolError("Content-Length is not a number of bytes")
    return int(digits)


def _connection(value: bytes, keep_alive: bool, fields: bytes) -> tuple[bool, bytes]:
    """Apply a (lower-case) Connection field: RFC 9110, 7.6.1."""
    for option in value.split(b","):
        name = option.strip(b" \t")
        if name == b"close":
            keep_alive = False
        elif name and name not in _PROTECTED:
            fields = without_field(fields, name)
    if not keep_alive and b"keep-alive" in value and b"close" not in value:
        keep_alive = True
    return keep_alive, fields


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
        if not colon or not re.fullmatch(_TOKEN + rb"+", name):
            return ClientProtocolError("a header line without a valid name and colon")
    return ClientProtocolError("a control character in a header value")
