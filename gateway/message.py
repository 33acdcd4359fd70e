"""A request as it is sent on."""

from __future__ import annotations

from gateway.chunks import encode
from gateway.head import NO_LENGTH, RequestHead


class RequestMessage:
    """To the serving arm, to the mirror, to the incumbent after a failover.

    `fields` are the gateway's own lines, each with its leading CRLF.
    """

    complete = False
    kept = True
    size = 0
    _settled: bytes | None = None

    def __init__(self, head: RequestHead, fields: bytes, request_id: bytes) -> None:
        self.head = head
        self.method = head.method
        self.fields = fields
        self.request_id = request_id
        self.pieces: list[bytes] = []

    def add(self, piece: bytes, keep_up_to: int) -> None:
        """One more piece of the body; over `keep_up_to` bytes nothing is kept: it cannot be sent again."""
        self.size += len(piece)
        if self.kept:
            if self.size > keep_up_to:
                self.kept = False
                self.pieces.clear()
            else:
                self.pieces.append(piece)

    def body(self) -> bytes:
        """What was kept of the body."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def payload(self, authority: bytes, prefix: bytes, path: bytes | None, extra: bytes = b"") -> bytes:
        """Head and what there is of the body."""
        head = self.head
        target = head.target
        if path is not None:
            target = path + target[len(head.path) :]
        body = self.body()
        if head.chunked and not self.complete and body:
            body = encode(body)
        middle = self._settled or self._middle()
        parts = (self.method, prefix, target, authority, middle, extra, body)
        return b"%b %b%b HTTP/1.1\r\nhost: %b%b%b\r\n\r\n%b" % parts

    def _middle(self) -> bytes:
        """The lines that are the same for every server, once the body's framing is settled."""
        head = self.head
        if head.content_length != NO_LENGTH:
            framing = b"\r\ncontent-length: %d" % head.content_length
        elif not head.chunked:
            framing = b""
        elif self.complete:
            framing = b"\r\ncontent-length: %d" % self.size
        else:
            framing = b"\r\ntransfer-encoding: chunked"
        middle = b"%b%b\r\nx-request-id: %b%b" % (head.fields, self.fields, self.request_id, framing)
        if self.complete or not head.chunked:
            self._settled = middle
        return middle
