"""Field lines of a head: what each name means to a proxy (RFC 9110, sections 5 and 7.6).

Most fields pass on as the bytes they came as. A few are looked at, and what belongs to one connection only,
or would let a client speak in the gateway's name, is dropped. What a name means is found out once and then
remembered, in bounds; a forgotten name is only looked up again.
"""

from __future__ import annotations

import re
from typing import Final

from domain.errors import ClientProtocolError

REMEMBERED: Final = 4096
"""Names, hosts or request lines kept before all of a kind are forgotten."""
VALUES_REMEMBERED = 16
"""Different lines of one name."""
LONGEST_REMEMBERED: Final = 256
"""Bytes in one of them."""
MAX_DIGITS: Final = 15
"""Digits in a Content-Length: a petabyte, and far from any overflow."""

PASS: Final = 0
HOST: Final = 1
LENGTH: Final = 2
CONNECTION: Final = 3
CODING: Final = 4
EXPECT: Final = 5
REQUEST_ID: Final = 6
DROP: Final = 7
MEDIA: Final = 8
FRESH: Final = 9
VIA: Final = 10
WANTED: Final = 16
"""Added to a field's kind when routing reads its value."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST = re.compile(rb"(?:[0-9A-Za-z._~\-%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_FIELD_BYTES = bytes((9, *range(32, 127), *range(128, 256)))

_HOP_BY_HOP = dict.fromkeys((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"), DROP)
_FRAMING = {b"content-length": LENGTH, b"connection": CONNECTION, b"transfer-encoding": CODING}
_FORWARDING = dict.fromkeys((b"forwarded", b"x-real-ip"), DROP)
REQUEST_KINDS = {
    **_HOP_BY_HOP, **_FRAMING, **_FORWARDING, b"host": HOST, b"expect": EXPECT, b"x-request-id": REQUEST_ID,
    b"via": VIA,
}  # fmt: skip
_MEDIA = dict.fromkeys((b"content-type", b"content-encoding", b"inference-header-content-length"), MEDIA)
RESPONSE_KINDS = {**_HOP_BY_HOP, **_FRAMING, **_MEDIA, b"x-request-id": DROP}
REQUEST_PREFIXES = (b"x-pointsman-", b"x-forwarded-", b"x-envoy-")
RESPONSE_PREFIXES = (b"x-pointsman-",)
_PROTECTED = frozenset(
    (b"close", b"keep-alive", b"host", b"content-length", b"content-type", b"content-encoding")
)
"""What a Connection field may not make us drop: the body would lose its meaning."""


class FieldNames:
    """What each name means, with its colon and in every case it was seen in: look in `kinds`, then `learn`.

    Most lines of a head are the same as in the last one; a few values differ every time. So whole lines that
    just pass on are remembered in `plain`, but only the first few of each name, whose kind is FRESH so long.
    """

    __slots__ = ("_left", "_meanings", "_prefixes", "_twins", "_wanted", "kinds", "plain")

    def __init__(
        self, meanings: dict[bytes, int], prefixes: tuple[bytes, ...], wanted: frozenset[bytes], *,
        twins: bool,
    ) -> None:  # fmt: skip
        """`meanings` by lower-case name; names with one of `prefixes` are dropped.

        `twins`: servers behind CGI's rules read '_' as '-', so such a twin of a name that means something is
        dropped.
        """
        self._meanings = meanings
        self._prefixes = prefixes
        self._wanted = wanted
        self._twins = twins
        self.kinds: dict[bytes, int] = {}
        self.plain = {b""}  # in place of the start line: the fields' bytes begin with its CRLF
        self._left: dict[bytes, int] = {}

    def _forget(self) -> None:
        """In place: a head may be in the middle of being read."""
        self.kinds.clear()
        self._left.clear()
        self.plain.clear()
        self.plain.add(b"")

    def learn(self, name: bytes) -> int:
        """The kind of `name`, which ends with its colon. Raises ClientProtocolError when it is no name."""
        lowered = name[:-1].lower()
        if name[-1:] != b":" or _TOKEN.fullmatch(lowered) is None:
            raise ClientProtocolError("a header line without a valid name and colon")
        hyphened = lowered.replace(b"_", b"-") if self._twins else lowered
        kind = DROP if hyphened.startswith(self._prefixes) else self._meanings.get(hyphened, PASS)
        if kind != PASS and hyphened != lowered:
            kind = DROP
        if lowered in self._wanted:
            kind += WANTED
        if len(name) <= LONGEST_REMEMBERED:
            if len(self.kinds) >= REMEMBERED:
                self._forget()
            if kind == PASS:
                kind = FRESH
                self._left[name] = VALUES_REMEMBERED
            self.kinds[name] = kind
        return kind

    def remember(self, name: bytes, line: bytes) -> None:
        """`line`, of a FRESH `name` and all of field bytes, just passes on."""
        left = self._left[name] - 1
        if left:
            self._left[name] = left
        else:
            del self._left[name]
            self.kinds[name] = PASS
        if len(line) <= LONGEST_REMEMBERED:
            self.plain.add(line)


def has_foreign_bytes(head: bytes, lines: int) -> bool:
    """Whether anything but field bytes and the CRLFs between `lines` lines is there: bare CR, LF, NUL …"""
    return head.translate(None, _FIELD_BYTES) != b"\r\n" * (lines - 1)


def is_name(name: bytes) -> bool:
    """Whether `name` is a token (RFC 9110, 5.6.2)."""
    return _TOKEN.fullmatch(name) is not None


def is_host(value: bytes) -> bool:
    """Whether `value` can stand in a Host field (RFC 9110, 7.2)."""
    return _HOST.fullmatch(value) is not None


def body_length(value: bytes) -> int:
    """The number of bytes that a Content-Length gives. Raises ClientProtocolError."""
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise ClientProtocolError("Content-Length is not a number of bytes")
    return int(value)


def connection(value: bytes, keep_alive: bool, fields: bytes) -> tuple[bool, bytes]:
    """Apply a Connection field to `fields` (RFC 9110, 7.6.1): whether to keep alive, and the fields left."""
    value = value.lower()
    options = {option.strip(b" \t") for option in value.split(b",")}
    keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
    options -= _PROTECTED
    options.discard(b"")
    if options:
        lines = fields.split(b"\r\n")
        fields = b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in options)
    return keep_alive, fields
