"""Undoing content codings (RFC 9110, section 8.4.1), whoever coded the body.

A few hundred coded bytes can stand for gigabytes, and a candidate may send them. Guarantee: `inflated` holds
at most `limit` bytes, one block and the decoder's window (gzip and deflate 32 KiB, zstd 8 MiB, br 16 MiB),
whatever came in; its time is bounded by the bytes in and the bytes out; it raises Unreadable and nothing
else. Every decoder works in bounded steps and is stopped at the cap; what is coded several times has the cap
at each step. The cap is `limit`, and 100 times the size of what came, for
coded bytes that say next to nothing each are a bomb well before they are 8 MiB; below 64 KiB there is no such
ratio, because a short answer of equal numbers may well shrink a hundredfold.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator

import brotli

from comparators.prediction import Unreadable
from comparators.readers.document import MAX_BODY
from comparators.wording import quoted
from domain.media import Media

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_RATIO = 100
"""Bytes after decoding for one before."""

MAX_CODINGS = 3
"""Content codings on top of each other."""

_ALWAYS = 64 * 1024  # bytes that no ratio forbids
_BLOCK = 64 * 1024
_MAX_MEMBERS = 64  # gzip members or zstd frames in a row: an empty one costs us more time than its sender
_ZSTD_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
# 8 MiB: what every decoder should have (RFC 8878, section 3.1.1.1.2)


def inflated(body: bytes, media: Media, limit: int = MAX_BODY) -> bytes:
    """`body` without its content codings: gzip, deflate, br, zstd, or several. Raises Unreadable."""
    if not media.content_encoding:
        return body
    codings = [coding.strip().lower() for coding in media.content_encoding.split(",")]
    codings = [coding for coding in codings if coding and coding != "identity"]
    if len(codings) > MAX_CODINGS:
        raise Unreadable(f"the answer has {len(codings)} content codings; up to {MAX_CODINGS} are undone")
    ratio = max(_ALWAYS, MAX_RATIO * len(body))
    for coding in reversed(codings):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            known = "gzip, deflate, br and zstd are undone"
            raise Unreadable(f"the answer has the content coding {quoted(coding)}; {known}")
        if not body:
            raise Unreadable("the answer is empty")
        body = decoder(body, min(limit, ratio), limit)
    return body


def _collected(blocks: Iterator[bytes], cap: int, limit: int) -> bytes:
    whole = bytearray()
    for block in blocks:
        whole += block
        if len(whole) > cap:
            beyond = f"{limit} bytes" if cap == limit else f"{MAX_RATIO} times its size"
            raise Unreadable(f"the answer inflates beyond {beyond}")
    return bytes(whole)


def _gzip(body: bytes, cap: int, limit: int) -> bytes:
    try:
        return _collected(_zlib_blocks(body, 16 + zlib.MAX_WBITS), cap, limit)
    except zlib.error:
        raise Unreadable("the answer is not what gzip writes") from None


def _deflate(body: bytes, cap: int, limit: int) -> bytes:
    """zlib's format, as RFC 9110 has it, or the raw format that some servers send by the same name."""
    try:
        return _collected(_zlib_blocks(body, zlib.MAX_WBITS), cap, limit)
    except zlib.error:
        pass
    try:
        return _collected(_zlib_blocks(body, -zlib.MAX_WBITS), cap, limit)
    except zlib.error:
        raise Unreadable("the answer is not what deflate writes") from None


def _zlib_blocks(body: bytes, window: int) -> Iterator[bytes]:
    """Blocks of every member; zlib's and the raw format have one only. Raises zlib.error, Unreadable."""
    several = window > zlib.MAX_WBITS
    decoder, members = zlib.decompressobj(window), 1
    for part in _parts(body):
        rest = part
        while rest:
            if decoder.eof:
                members += 1
                if not several or members > _MAX_MEMBERS:
                    raise Unreadable("the answer goes on behind the end of its coded part")
                decoder = zlib.decompressobj(window)
            yield decoder.decompress(rest, _BLOCK)
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    while block := decoder.decompress(b"", _BLOCK) if not decoder.eof else b"":
        yield block
    if not decoder.eof:
        raise Unreadable("the coded answer ends before its end")


def _brotli(body: bytes, cap: int, limit: int) -> bytes:
    try:
        return _collected(_brotli_blocks(body), cap, limit)
    except brotli.error:
        raise Unreadable("the answer is not what br writes, or goes on behind its end") from None


def _brotli_blocks(body: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    for part in _parts(body):
        yield decoder.process(part, output_buffer_limit=_BLOCK)
        while not decoder.is_finished():  # it may hold output back although it accepts more
            block = decoder.process(b"", output_buffer_limit=_BLOCK)
            if not block:
                break
            yield block
    if not decoder.is_finished():
        raise Unreadable("the coded answer ends before its end")


def _zstd(body: bytes, cap: int, limit: int) -> bytes:
    try:
        return _collected(_zstd_blocks(body), cap, limit)
    except zstd.ZstdError:
        raise Unreadable("the answer is not what zstd writes, or needs a window of more than 8 MiB") from None


def _zstd_blocks(body: bytes) -> Iterator[bytes]:
    rest = body
    for _ in range(_MAX_MEMBERS):
        decoder = zstd.ZstdDecompressor(options=_ZSTD_WINDOW)
        yield decoder.decompress(rest, _BLOCK)
        while not decoder.eof:
            if decoder.needs_input:
                raise Unreadable("the coded answer ends before its end")
            yield decoder.decompress(b"", _BLOCK)
        rest = decoder.unused_data
        if not rest:
            return
    raise Unreadable("the answer goes on behind the end of its coded part")


def _parts(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), _BLOCK):
        yield body[start : start + _BLOCK]


_DECODERS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
