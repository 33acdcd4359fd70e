"""A request as it is sent on."""

from __future__ import annotations

from gateway.chunks import encode
from gateway.head import NO_LENGTH, RequestHead


class RequestMessage:
    """A request as it is sent on: to the serving arm, to the mirror, to the incumbent after a failover."""

    __slots__ = ("complete", "fields", "head", "kept", "method", "pieces", "size")

    def __init__(self, head: RequestHead, fields: bytes) -> None:
        self.head = head
        self.method = head.method
        self.fields = fields
        self.pieces: list[bytes] = []
        self.size = 0
        self.complete = False
        self.kept = True

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

    @property
    def chunked_upload(self) -> bool:
        """The body goes on in chunks: its length is not known yet."""
        return self.head.chunked and not self.complete

    def payload(self, authority: bytes, prefix: bytes, path: bytes | None, extra: bytes = b"") -> bytes:
        """Head and what there is of the body."""
        head = self.head
        target = head.target
        if path is not None:
            target = path + target[len(head.path) :]
        body = self.body()
        if self.chunked_upload:
            framing = b"\r\ntransfer-encoding: chunked"
            if body:
                body = encode(body)
        elif self.complete and (head.chunked or head.content_length != NO_LENGTH):
            framing = b"\r\ncontent-length: %d" % self.size
        elif head.content_length != NO_LENGTH:
            framing = b"\r\ncontent-length: %d" % head.content_length
        else:
            framing = b""
        return b"%b %b%b HTTP/1.1\r\nhost: %b%b%b%b\r\n\r\n%b" % (
            self.method, prefix, target, authority, self.fields, framing, extra, body,
        )  # fmt: skip
