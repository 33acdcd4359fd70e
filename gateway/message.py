"""A request: its head as read, its body as it comes, and its bytes as they are sent on."""

from __future__ import annotations

from typing import Final

from domain.media import Media
from gateway.chunks import encode

NO_LENGTH: Final = -1
"""The head has no Content-Length."""
MEDIA_FIELDS = (b"content-type", b"content-encoding", b"inference-header-content-length")
"""What tells how a body is written, as far as predictions go."""
IN_CHUNKS: Final = -1
"""Only the chunks themselves tell where the body ends."""


class RequestMessage:
    """To the serving arm, to the mirror, to the incumbent after a failover.

    Attributes:
        target: origin-form, as received (path and query).
        path: the target without its query.
        fields: the lines to pass on, each with its leading CRLF; framing and forwarding fields are taken out.
        content_length: NO_LENGTH when absent.
        end: where the head ends in the bytes it was read from.
        whole_at: where the body ends in them, or IN_CHUNKS.
        request_id: empty until there is one.
        via: it came through another proxy, or through this one: there is a Via field.
        values: lower-case name → value of the fields that routing asked for (the first of each), or None.
        own: the gateway's own lines, each with its leading CRLF.
        complete: the body is whole.
        kept: what came of the body is here, so that it can be sent (again).
        size: bytes of the body so far.
    """

    # What is rare stands in the class: a request only writes what it has.
    chunked = False
    expects_continue = False
    via = False
    values: dict[bytes, bytes] | None = None
    complete = False
    kept = True
    size = 0
    content = b""
    _lines: bytes | None = None

    method: bytes
    target: bytes
    path: bytes
    minor: int
    fields: bytes
    keep_alive: bool
    content_length: int
    end: int
    whole_at: int
    request_id: bytes
    own: bytes
    _pieces: list[bytes]

    def add(self, piece: bytes, keep_up_to: int) -> None:
        """One more piece of the body; over `keep_up_to` bytes nothing is kept: it cannot be sent again."""
        if not self.size:
            self._pieces = []
        self.size += len(piece)
        if self.kept:
            if self.size > keep_up_to:
                self.kept = False
                self._pieces.clear()
            else:
                self._pieces.append(piece)

    def body(self) -> bytes:
        """What was kept of the body."""
        if self.size and not self.content and self.kept:
            joined = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            if not self.complete:
                return joined
            self.content = joined
            self._pieces = []
        return self.content

    def media(self) -> str:
        """How the body is written, as in domain.observation; known where routing asked for MEDIA_FIELDS."""
        values = self.values or {}
        fields = (values.get(name, b"").decode("latin-1") for name in MEDIA_FIELDS)
        return Media.from_fields(*fields).text()

    def payload(self, authority: bytes, prefix: bytes, path: bytes | None, extra: bytes = b"") -> bytes:
        """Head and what there is of the body. `extra` are further lines, each with its leading CRLF."""
        target = self.target
        if path is not None:
            target = path + target[len(self.path) :]
        body = self.content or self.body()
        if self.chunked and not self.complete and body:
            body = encode(body)
        length = self.content_length
        if length >= 0 and self.complete:  # the common request, in one go
            return (
                b"%b %b%b HTTP/1.1\r\nhost: %b%b%b\r\nx-request-id: %b\r\ncontent-length: %d%b\r\n\r\n%b"
            ) % (
                self.method, prefix, target, authority, self.fields, self.own, self.request_id, length,
                extra, body,
            )  # fmt: skip
        lines = self._lines or self._settled_lines()
        return b"%b %b%b HTTP/1.1\r\nhost: %b%b%b\r\n\r\n%b" % (
            self.method, prefix, target, authority, lines, extra, body,
        )  # fmt: skip

    def _settled_lines(self) -> bytes:
        """The lines that are the same for every server, remembered once the body's framing is settled."""
        if self.content_length >= 0:
            framing = b"\r\ncontent-length: %d" % self.content_length
        elif not self.chunked:
            framing = b""
        elif self.complete:
            framing = b"\r\ncontent-length: %d" % self.size
        else:
            framing = b"\r\ntransfer-encoding: chunked"
        lines = b"%b%b\r\nx-request-id: %b%b" % (self.fields, self.own, self.request_id, framing)
        if self.complete or not self.chunked:
            self._lines = lines
        return lines
