"""The gateway's own answers: RFC 9457 problem documents, and a word to who asks for its health."""

from __future__ import annotations

import json
from http import HTTPStatus

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
RETRY_AFTER = b"\r\nretry-after: 1"


def problem(
    status: int, detail: str, request_id: bytes, *, fields: bytes = b"", bodiless: bool = False
) -> bytes:
    """A whole response. `fields` are lines with leading CRLF; `bodiless` for an answer to HEAD."""
    phrase = _PHRASES[status]
    body = json.dumps(
        {
            "type": "about:blank",
            "title": phrase.decode(),
            "status": status,
            "detail": detail,
            "request_id": request_id.decode("ascii"),
        }
    ).encode()
    head = (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nx-request-id: %b"
    )
    return (head + b"%b\r\n\r\n%b") % (
        status, phrase, len(body), request_id, fields, b"" if bodiless else body,
    )  # fmt: skip


def plain(
    status: int, detail: str, request_id: bytes, *, fields: bytes = b"", bodiless: bool = False
) -> bytes:
    """A whole response that says `detail` and that nobody may keep. The rest is as in `problem`."""
    body = f"{detail}\n".encode("ascii")
    head = (
        b"HTTP/1.1 %d %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
        b"cache-control: no-store\r\nx-request-id: %b"
    )
    return (head + b"%b\r\n\r\n%b") % (
        status, _PHRASES[status], len(body), request_id, fields, b"" if bodiless else body,
    )  # fmt: skip
