"""Strict decoding of the chunked transfer coding (RFC 9112, section 7.1).

Sizes are 1 to 15 hexadecimal digits, lines end with CRLF, extensions are bounded and dropped, trailers are
checked and dropped: a trailer that became a header would let anybody write the headers we set ourselves.
"""

from __future__ import annotations

import re
from typing import Final

MAX_LINE: Final = 4096
"""Bytes in a chunk's size line with its extensions."""
MAX_TRAILERS: Final = 8192
TINY: Final = 16
"""Bytes below which a chunk costs more to read than its bytes."""
MOST_TINY: Final = 16_384
"""Such chunks in one request's body: a client that sends more of them wants to keep us busy."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")

_LINE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkError(ValueError):
    """The bytes are not a chunked body."""


class ChunkDecoder:
    """Feed it bytes, get the body's pieces.

    >>> decoder = ChunkDecoder()
    >>> decoder.feed(b"4\\r\\nrain\\r\\n0\\r\\n\\r\\nGET")
    [b'rain']
    >>> decoder.done, decoder.rest
    (True, b'GET')
    """

    __slots__ = ("_held", "_left", "_most_tiny", "_state", "_tiny", "_trailer_bytes", "rest")

    def __init__(self, most_tiny: int | None = None) -> None:
        """`most_tiny`: chunks of less than TINY bytes that are taken; None for any number."""
        self._most_tiny = most_tiny
        self._tiny = 0
        self._state = _LINE
        self._left = 0
        self._held = b""
        self._trailer_bytes = 0
        self.rest = b""

    @property
    def done(self) -> bool:
        """Whether the last chunk and the trailers were seen; `rest` then holds what came behind them."""
        return self._state == _DONE

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body in `data`. Raises ChunkError, after which the decoder is of no use."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        at = 0
        while self._state != _DONE:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                if not piece:
                    return pieces
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    return pieces
                self._state = _DATA_END
            elif self._state == _DATA_END:
                ending = data[at : at + 2]
                if not b"\r\n".startswith(ending):
                    raise ChunkError("a chunk is not followed by CRLF")
                if len(ending) < 2:
                    self._held = ending
                    return pieces
                at += 2
                self._state = _LINE
            else:
                end = data.find(b"\r\n", at)
                if end < 0:
                    self._hold(data[at:])
                    return pieces
                self._line(data[at:end])
                at = end + 2
        self.rest = data[at:]
        return pieces

    def _hold(self, line: bytes) -> None:
        text = line.removesuffix(b"\r")
        longest = MAX_LINE if self._state == _LINE else MAX_TRAILERS - self._trailer_bytes
        if len(text) > longest or b"\n" in text or b"\r" in text:
            raise ChunkError("a chunk line is too long or has a bare CR or LF")
        if self._state == _LINE and text and _SIZE.match(text) is None:
            raise ChunkError("a chunk size is not hexadecimal")
        self._held = line

    def _line(self, line: bytes) -> None:
        if self._state == _LINE:
            size = _SIZE.fullmatch(line)
            if size is None or len(line) > MAX_LINE:
                raise ChunkError("a chunk size is not hexadecimal")
            self._left = int(size.group(1), 16)
            if self._most_tiny is not None and self._left < TINY:
                self._tiny += 1
                if self._tiny > self._most_tiny:
                    raise ChunkError(f"more than {self._most_tiny} chunks of less than {TINY} bytes")
            self._state = _DATA if self._left else _TRAILERS
        elif not line:
            self._state = _DONE
        else:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MAX_TRAILERS or _TRAILER.fullmatch(line) is None:
                raise ChunkError("a trailer field is malformed, or the trailers are too long")


def encode(piece: bytes) -> bytes:
    """`piece` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"
