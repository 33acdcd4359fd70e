"""The gateway's own answers: RFC 9457 problem documents, and a word to who asks for its health."""

from __future__ import annotations

from http import HTTPStatus
from json.encoder import encode_basestring_ascii

RETRY_AFTER = b"\r\nretry-after: 1"


def _begun(status: HTTPStatus) -> tuple[bytes, bytes]:
    phrase = status.phrase.encode()
    line = b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\n" % (status, phrase)
    return line, b'{"type": "about:blank", "title": "%b", "status": %d, "detail": ' % (phrase, status)


# A server that is down makes as many of these as there are requests.
_BEGUN = {status.value: _begun(status) for status in HTTPStatus}


def problem(
    status: int, detail: str, request_id: bytes, *, fields: bytes = b"", bodiless: bool = False
) -> bytes:
    """A whole response. `fields` are lines with leading CRLF; `bodiless` for an answer to HEAD.

    `request_id` has nothing that JSON would escape: see gateway.head.
    """
    line, opening = _BEGUN[status]
    body = b'%b%b, "request_id": "%b"}' % (opening, encode_basestring_ascii(detail).encode(), request_id)
    return b"%bcontent-length: %d\r\nx-request-id: %b%b\r\n\r\n%b" % (
        line, len(body), request_id, fields, b"" if bodiless else body,
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
        status, HTTPStatus(status).phrase.encode(), len(body), request_id, fields, b"" if bodiless else body,
    )  # fmt: skip
