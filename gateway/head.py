"""Strict parsing of HTTP/1.1 request and response heads (RFC 9110, RFC 9112).

The problem: a proxy that reads a head otherwise than the server behind it can be made to smuggle requests,
and a proxy that builds an object per header is slow. The guarantee: a head is either refused with the
status that the RFC asks for, or every line of it is `token ":" field-value CRLF` and its framing has one
meaning.

How it stays cheap: a line that was seen before was checked before, and costs one look-up; of a line with a
new value, the name is looked up and the value's bytes are checked, in C. Most fields travel on as the bytes
they came as. What is remembered is bounded and only ever saves work: a forgotten line is checked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import filterfalse

from domain.errors import ClientProtocolError, UpstreamProtocolError

MAX_HEAD = 64 * 1024
"""Bytes in a request's or response's head."""
MAX_FIELDS = 100
MAX_TARGET = 16 * 1024
"""Bytes in a request line."""
MAX_DIGITS = 15
"""Digits in a Content-Length: a petabyte, and far from any overflow."""
REMEMBERED = 4096
"""Names, request lines or response heads kept before all of a kind are forgotten."""
VALUES_REMEMBERED = 16
"""Different lines of one name."""
LONGEST_REMEMBERED = 256
"""Bytes in a line."""

NO_LENGTH = -1
"""The head has no Content-Length."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)([/?].*)?")
_HOST = re.compile(rb"(?:[0-9A-Za-z._~\-%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_REQUEST_ID = re.compile(rb"[0-9A-Za-z._~:\-]{1,128}")
_BLANK_LINES = re.compile(rb"(?:\r\n)++")
_FIELD_BYTES = bytes((9, *range(32, 127), *range(128, 256)))

_PASS, _HOST_FIELD, _LENGTH, _CONNECTION, _CODING, _EXPECT, _ID, _DROP = range(8)
_WANTED = 16
"""Added to a field's kind when routing reads its value."""

_HOP_BY_HOP = dict.fromkeys((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"), _DROP)
_FRAMING = {b"content-length": _LENGTH, b"connection": _CONNECTION, b"transfer-encoding": _CODING}
_FORWARDING = dict.fromkeys((b"forwarded", b"x-real-ip"), _DROP)
_REQUEST_KINDS = {
    **_HOP_BY_HOP, **_FRAMING, **_FORWARDING, b"host": _HOST_FIELD, b"expect": _EXPECT, b"x-request-id": _ID,
}  # fmt: skip
_RESPONSE_KINDS = {**_HOP_BY_HOP, **_FRAMING, b"x-request-id": _DROP}
_DROPPED_PREFIXES = (b"x-pointsman-", b"x-forwarded-", b"x-envoy-")
_PROTECTED = frozenset(
    (b"close", b"keep-alive", b"host", b"content-length", b"content-type", b"content-encoding")
)
"""What a Connection field may not make us drop: the body would lose its meaning."""


class RequestHead:
    """One request's head, read.

    Attributes:
        target: origin-form, as received (path and query).
        path: the target without its query.
        fields: the lines to pass on, each with its leading CRLF; framing and forwarding fields are taken out.
        content_length: NO_LENGTH when absent.
        values: lower-case name → value of the fields that routing asked for (the first of each), or None.
    """

    method: bytes
    target: bytes
    path: bytes
    minor: int
    fields: bytes
    keep_alive: bool
    content_length = NO_LENGTH
    chunked = False
    expects_continue = False
    request_id: bytes | None = None
    values: dict[bytes, bytes] | None = None


class ResponseHead:
    """One response's head, read; not to be changed, for it may be shared.

    `reason` is the status and its phrase; `fields` as in RequestHead, but Content-Length stays in it.
    `final_length` is the body's length where the head alone settles it: a final answer that is neither in
    chunks nor 204 nor 304; else NO_LENGTH.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "fields",
        "final_length",
        "keep_alive",
        "minor",
        "reason",
        "status",
    )

    status: int
    reason: bytes
    minor: int
    fields: bytes
    content_length: int
    final_length: int
    chunked: bool
    keep_alive: bool


Notable = tuple[int, bytes, bytes, int]
"""A field line that a proxy must look at: its kind, its lower-case name, its value, its number of bytes if
it is a Content-Length."""


class _Lines:
    """What is known of field lines.

    Most lines of a request are the same as in the last one; a few values differ every time. So whole lines
    are remembered, but only the first few values of each name.

    Attributes:
        plain: lines that just pass on.
        notable: lines to look at.
        spent: names whose lines just pass on, and of which no further line is remembered.
    """

    __slots__ = ("_kinds", "_names", "_prefixes", "_twins", "_wanted", "notable", "plain", "spent")

    def __init__(
        self, kinds: dict[bytes, int], prefixes: tuple[bytes, ...], wanted: frozenset[bytes], *, twins: bool
    ) -> None:
        self._kinds = kinds
        self._prefixes = prefixes
        self._wanted = wanted
        self._twins = twins
        self._forget()

    def _forget(self) -> None:
        self._names: dict[bytes, list[int]] = {}
        self.plain = {b""}  # in place of the start line: the fields' bytes begin with its CRLF
        self.notable: dict[bytes, Notable] = {}
        self.spent: set[bytes] = set()

    def learn(self, line: bytes) -> Notable | None:
        """What a line not remembered is, None when it just passes on; its bytes are known to be field bytes.

        Raises ClientProtocolError when it is no field line or its value cannot be right.
        """
        colon = line.find(b":")
        name = line[:colon] if colon > 0 else b""
        known = self._names.get(name) or self._learn_name(name)
        kind, left = known
        found = None if kind == _PASS else _notable(kind, name.lower(), line[colon + 1 :].strip(b" \t"))
        if left and len(line) <= LONGEST_REMEMBERED:
            known[1] -= 1
            if found is None:
                self.plain.add(line)
            else:
                self.notable[line] = found
        elif found is None and len(name) <= LONGEST_REMEMBERED:
            self.spent.add(name)
        return found

    def _learn_name(self, name: bytes) -> list[int]:
        if _TOKEN.fullmatch(name) is None:
            raise ClientProtocolError("a header line without a valid name and colon")
        lowered = name.lower()
        # Servers behind CGI's rules read '_' as '-': such a twin of a name that means something is dropped.
        hyphened = lowered.replace(b"_", b"-") if self._twins else lowered
        kind = _DROP if hyphened.startswith(self._prefixes) else self._kinds.get(hyphened, _PASS)
        if kind != _PASS and hyphened != lowered:
            kind = _DROP
        if lowered in self._wanted:
            kind += _WANTED
        if len(name) > LONGEST_REMEMBERED:
            return [kind, 0]
        if len(self._names) >= REMEMBERED:
            self._forget()
        known = self._names[name] = [kind, VALUES_REMEMBERED]
        return known


def _notable(kind: int, name: bytes, value: bytes) -> Notable:
    number = 0
    if kind % _WANTED == _LENGTH:
        if not value.isdigit() or len(value) > MAX_DIGITS:
            raise ClientProtocolError("Content-Length is not a number of bytes")
        number = int(value)
    elif kind % _WANTED == _HOST_FIELD and _HOST.fullmatch(value) is None:
        raise ClientProtocolError("the Host field is not a host")
    return kind, name, value, number


class RequestGrammar:
    """Parses request heads; `interest` names the fields (lower case) whose values routing reads."""

    def __init__(self, interest: Iterable[bytes] = ()) -> None:
        self._fields = _Lines(_REQUEST_KINDS, _DROPPED_PREFIXES, frozenset(interest), twins=True)
        self._lines: dict[bytes, tuple[bytes, bytes, bytes, int]] = {}

    def parse(self, head: bytes) -> RequestHead:
        """Parse `head`: the bytes before the blank line, which must be whole.

        Raises ClientProtocolError with the status to answer. The connection cannot be used afterwards.
        """
        lines = head.split(b"\r\n")
        if len(lines) > MAX_FIELDS + 1:
            raise ClientProtocolError(f"more than {MAX_FIELDS} header fields", 431)
        request = RequestHead()
        first = lines[0]
        line = self._lines.get(first) or self._request_line(first, head)
        request.method, request.target, request.path, request.minor = line
        request.keep_alive = line[3] == 1
        lines[0] = b""
        fields = self._fields
        remembered = fields.notable
        spent = fields.spent
        checked = False
        notable: list[tuple[bytes, Notable]] = []
        for field in filterfalse(fields.plain.__contains__, lines):
            found = remembered.get(field)
            if found is None:
                if not checked:
                    if _has_foreign_bytes(head, len(lines)):
                        raise _explain_request(head)
                    checked = True
                name, colon, _ = field.partition(b":")
                if colon and name in spent:
                    continue
                found = fields.learn(field)
                if found is None:
                    continue
            notable.append((field, found))
        self._read(request, notable, lines)
        return request

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

    def _read(self, request: RequestHead, notable: list[tuple[bytes, Notable]], lines: list[bytes]) -> None:
        hosts = 0
        nominated: bytes | None = None
        for line, (meaning, name, value, number) in notable:
            kind = meaning
            if meaning >= _WANTED:
                if request.values is None:
                    request.values = {name: value}
                else:
                    request.values.setdefault(name, value)
                kind = meaning - _WANTED
                if kind == _PASS:
                    continue
            lines.remove(line)
            if kind == _HOST_FIELD:
                hosts += 1
            elif kind == _LENGTH:
                if request.content_length != NO_LENGTH:
                    raise ClientProtocolError("more than one Content-Length")
                request.content_length = number
            elif kind == _CONNECTION:
                nominated = value if nominated is None else nominated + b"," + value
            elif kind == _CODING:
                if request.chunked:
                    raise ClientProtocolError("more than one Transfer-Encoding")
                if value.lower() != b"chunked":
                    raise ClientProtocolError("the only transfer coding understood is chunked", 501)
                request.chunked = True
            elif kind == _EXPECT:
                if value.lower() != b"100-continue":
                    raise ClientProtocolError("the only expectation understood is 100-continue", 417)
                request.expects_continue = request.minor == 1
            elif kind == _ID and request.request_id is None and _REQUEST_ID.fullmatch(value):
                request.request_id = value
        if request.chunked and (request.content_length != NO_LENGTH or request.minor == 0):
            raise ClientProtocolError("Transfer-Encoding with Content-Length, or in HTTP/1.0")
        if hosts != 1 and (hosts or request.minor):
            raise ClientProtocolError("a request has exactly one Host field")
        request.fields = b"\r\n".join(lines)
        if nominated is not None and (nominated != b"keep-alive" or not request.minor):
            request.keep_alive, request.fields = _connection(nominated, request.keep_alive, request.fields)


class ResponseGrammar:
    """Parses response heads. A server's heads mostly repeat but for the date: whole heads are remembered."""

    def __init__(self) -> None:
        self._fields = _Lines(_RESPONSE_KINDS, (b"x-pointsman-",), frozenset(), twins=False)
        self._heads: dict[bytes, ResponseHead] = {}

    def parse(self, head: bytes) -> ResponseHead:
        """Parse the bytes before a response's blank line. Raises UpstreamProtocolError."""
        known = self._heads.get(head)
        if known is not None:
            return known
        response = self._read(head)
        if len(self._heads) >= REMEMBERED // 16:
            self._heads.clear()
        self._heads[head] = response
        return response

    def _read(self, head: bytes) -> ResponseHead:
        lines = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(lines[0])
        if status is None:
            raise UpstreamProtocolError("its response head is not HTTP/1.1")
        if len(lines) > MAX_FIELDS + 1:
            raise UpstreamProtocolError(f"its response has more than {MAX_FIELDS} header fields")
        response = ResponseHead()
        response.status = int(status.group(2))
        response.minor = 0 if status.group(1) == b"0" else 1
        response.keep_alive = response.minor == 1
        response.reason = lines[0][9:]
        response.content_length = NO_LENGTH
        response.chunked = False
        nominated: bytes | None = None
        taken: list[bytes] = []
        if _has_foreign_bytes(head, len(lines)):
            raise UpstreamProtocolError("its response head has bytes that no field has")
        for line in lines[1:]:
            try:
                found = self._fields.notable.get(line) or self._fields.learn(line)
            except ClientProtocolError as error:
                raise UpstreamProtocolError(f"its response: {error.reason}") from None
            if found is None:
                continue
            kind, _, value, number = found
            if kind == _LENGTH:
                if response.content_length != NO_LENGTH:
                    raise UpstreamProtocolError("its response has more than one Content-Length")
                response.content_length = number
                continue
            taken.append(line)
            if kind == _CONNECTION:
                nominated = value if nominated is None else nominated + b"," + value
            elif kind == _CODING:
                if response.chunked or response.minor == 0 or value.lower() != b"chunked":
                    raise UpstreamProtocolError("its response has a transfer coding other than one chunked")
                response.chunked = True
        if response.chunked and response.content_length != NO_LENGTH:
            raise UpstreamProtocolError("its response has both Transfer-Encoding and Content-Length")
        settled = response.status >= 200 and response.status not in (204, 304) and not response.chunked
        response.final_length = response.content_length if settled else NO_LENGTH
        response.fields = _joined(lines, taken)
        if nominated is not None:
            response.keep_alive, response.fields = _connection(
                nominated, response.keep_alive, response.fields
            )
        return response


def _has_foreign_bytes(head: bytes, lines: int) -> bool:
    """Whether anything but field bytes and the CRLFs between `lines` lines is there: bare CR, LF, NUL …"""
    return head.translate(None, _FIELD_BYTES) != b"\r\n" * (lines - 1)


def _joined(lines: list[bytes], taken: list[bytes]) -> bytes:
    """The fields of `lines` (whose first is the start line, and gone afterwards) without the `taken` ones."""
    lines[0] = b""
    for line in taken:
        lines.remove(line)
    return b"\r\n".join(lines)


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
    if data.count(b"\n") != data.count(b"\r\n"):
        raise ClientProtocolError("a line ends with a bare LF")
    end = data.find(b"\r\n")
    if (len(data.removesuffix(b"\r")) if end < 0 else end) > MAX_TARGET:
        raise ClientProtocolError(f"the request line is over {MAX_TARGET} bytes", 414)
    if end < 0:
        return
    if _REQUEST_LINE.fullmatch(data, 0, end) is None:
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


def _connection(value: bytes, keep_alive: bool, fields: bytes) -> tuple[bool, bytes]:
    """Apply a Connection field: RFC 9110, 7.6.1."""
    value = value.lower()
    options = {option.strip(b" \t") for option in value.split(b",")}
    keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
    options -= _PROTECTED
    options.discard(b"")
    if options:
        lines = fields.split(b"\r\n")
        fields = b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in options)
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
        if not colon or _TOKEN.fullmatch(name) is None:
            return ClientProtocolError("a header line without a valid name and colon")
    return ClientProtocolError("a control character in a header value")
