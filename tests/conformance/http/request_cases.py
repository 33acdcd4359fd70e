"""What a request may look like, what it becomes, and what is refused: RFC 9110 and RFC 9112, case by case.

A row is the bytes of one request and its fate: the status that the client gets, whether its connection ends,
and what the model server was sent, to the last field. Nothing else may ever reach the model server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.chunks import MAX_LINE, MAX_TRAILERS
from gateway.head import MAX_FIELDS, MAX_HEAD, MAX_TARGET
from tests.support.gateway import PATH

TARGET = PATH.encode()
HOST = b"Host: models"
MAX_BODY = 4096
"""Bytes that the endpoint of these cases takes."""


NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Sent:
    """What the model server gets: `fields` are all that are not the gateway's own, framing included."""

    line: str
    body: bytes
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """`section` as '9112 6.1': RFC and section."""

    name: str
    section: str
    request: bytes
    status: int
    closes: bool
    sent: Sent | None = None
    answer: Mapping[str, str] = field(default_factory=dict)
    """Fields that the answer must have."""


def head(*fields: bytes, line: bytes = b"POST " + TARGET + b" HTTP/1.1") -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


def post(*fields: bytes, body: bytes = b"") -> bytes:
    """A POST with a Host, these fields and `body` as it is."""
    return head(HOST, *fields) + body


def line(first: bytes, *fields: bytes) -> bytes:
    """A request with this request line and a Host."""
    return head(HOST, *fields, line=first)


def target(text: bytes, method: bytes = b"GET") -> bytes:
    return line(b"%b %b HTTP/1.1" % (method, text))


def chunks(body: bytes, *fields: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *fields, body=body)


def ok(
    name: str, section: str, request: bytes, body: bytes | None = None, *, method: str = "POST", query: str = "",
    closes: bool = False, answer: Mapping[str, str] | None = None,
    more: Mapping[str, str] = NOTHING, **fields: str,
) -> Case:  # fmt: skip
    """Accepted: `body` None has no Content-Length; underscores in `fields`, not in `more`, stand for hyphens."""
    passed = {name.replace("_", "-"): value for name, value in fields.items()} | dict(more)
    if body is not None:
        passed["content-length"] = str(len(body))
    sent = Sent(f"{method} {PATH}{query} HTTP/1.1", body or b"", passed)
    return Case(name, section, request, 200, closes, sent, answer or {})


def away(name: str, section: str, request: bytes, status: int, **answer: str) -> Case:
    """Well formed and turned away: the connection goes on."""
    return Case(name, section, request, status, closes=False, answer=answer)


def bad(name: str, section: str, request: bytes, status: int = 400) -> Case:
    """Refused: nothing behind it can be trusted."""
    return Case(name, section, request, status, closes=True)


BODY = b"4\r\nrain\r\n"
LAST = b"0\r\n\r\n"
VERSION_1_0 = b"POST " + TARGET + b" HTTP/1.0"


def _trailer(trailer: bytes) -> bytes:
    return chunks(BODY + b"0\r\n" + trailer + b"\r\n\r\n")


FRAMING = [
    ok("content-length", "9112 6.2", post(b"Content-Length: 4", body=b"rain"), b"rain"),
    ok("content-length in small letters", "9110 5.1", post(b"content-length:4", body=b"rain"), b"rain"),
    ok("no body", "9112 6.3", post()),
    ok("zero length", "9112 6.2", post(b"Content-Length: 0"), b""),
    ok("length with leading zeros", "9110 8.6", post(b"Content-Length: 0004", body=b"rain"), b"rain"),
    ok("blanks around a length", "9110 5.5", post(b"Content-Length: \t4 \t", body=b"rain"), b"rain"),
    ok("the longest body", "9110 15.5.14", post(b"Content-Length: 4096", body=b"x" * MAX_BODY), b"x" * MAX_BODY),
    ok("GET with a body", "9110 9.3.1", line(b"GET " + TARGET + b" HTTP/1.1", b"Content-Length: 4") + b"rain", b"rain", method="GET"),
    ok("a length that Connection names", "9110 7.6.1", post(b"Connection: content-length", b"Content-Length: 4", body=b"rain"), b"rain"),
    ok("a length's twin with an underscore", "9110 8.6", post(b"Content_Length: 9", b"Content-Length: 4", body=b"rain"), b"rain"),
    ok("a body like a request", "9112 6.2", post(b"Content-Length: 18", body=b"GET / HTTP/1.1\r\n\r\n"), b"GET / HTTP/1.1\r\n\r\n"),
    bad("length and chunked", "9112 6.1", chunks(LAST, b"Content-Length: 4")),
    bad("chunked and length", "9112 6.1", post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=LAST)),
    bad("length 0 and chunked", "9112 6.1", chunks(LAST, b"Content-Length: 0")),
    bad("length, chunked, and a smuggled request", "9112 11.2", chunks(LAST + b"GET " + TARGET + b" HTTP/1.1\r\nX: ", b"Content-Length: 6")),
    bad("two lengths that differ", "9112 6.3", post(b"Content-Length: 4", b"Content-Length: 5", body=b"rain")),
    bad("two lengths that agree", "9112 6.3", post(b"Content-Length: 4", b"Content-Length: 4", body=b"rain")),
    bad("two lengths in two cases", "9112 6.3", post(b"Content-Length: 4", b"CONTENT-LENGTH: 0", body=b"rain")),
    bad("list of lengths that agree", "9112 6.3", post(b"Content-Length: 4, 4", body=b"rain")),
    bad("list of lengths that differ", "9112 6.3", post(b"Content-Length: 4,5", body=b"rain")),
    bad("list with an empty length", "9112 6.3", post(b"Content-Length: 4,", body=b"rain")),
    bad("signed length", "9110 8.6", post(b"Content-Length: +4", body=b"rain")),
    bad("negative length", "9110 8.6", post(b"Content-Length: -4", body=b"rain")),
    bad("negative zero", "9110 8.6", post(b"Content-Length: -0")),
    bad("hexadecimal length", "9110 8.6", post(b"Content-Length: 0x4", body=b"rain")),
    bad("length with hexadecimal digits", "9110 8.6", post(b"Content-Length: a", body=b"0123456789")),
    bad("length with an exponent", "9110 8.6", post(b"Content-Length: 4e0", body=b"rain")),
    bad("length with a fraction", "9110 8.6", post(b"Content-Length: 4.0", body=b"rain")),
    bad("length with a digit mark", "9110 8.6", post(b"Content-Length: 4_0", body=b"rain")),
    bad("quoted length", "9110 8.6", post(b'Content-Length: "4"', body=b"rain")),
    bad("length with a comment", "9110 8.6", post(b"Content-Length: 4;a", body=b"rain")),
    bad("length in other scripts' digits", "9110 8.6", post("Content-Length: ٤".encode(), body=b"rain")),
    bad("length with superscript digit", "9110 8.6", post(b"Content-Length: \xb2", body=b"ra")),
    bad("length of 17 digits", "9110 8.6", post(b"Content-Length: 00000000000000004", body=b"rain")),
    bad("length over 64 bits", "9110 8.6", post(b"Content-Length: 18446744073709551620", body=b"rain")),
    bad("length over 32 bits", "9110 15.5.14", post(b"Content-Length: 4294967300", body=b"rain"), 413),
    bad("empty length", "9110 8.6", post(b"Content-Length:", body=b"rain")),
    bad("length with a space inside", "9110 8.6", post(b"Content-Length: 4 4", body=b"rain")),
    bad("length behind a vertical tab", "9110 5.5", post(b"Content-Length: \x0b4", body=b"rain")),
    bad("length with a form feed", "9110 5.5", post(b"Content-Length: 4\x0c", body=b"rain")),
    bad("length with NUL", "9110 5.5", post(b"Content-Length: 4\x00", body=b"rain")),
    bad("space before a length's colon", "9112 5.1", post(b"Content-Length : 4", body=b"rain")),
    bad("folded length", "9112 5.2", post(b"Content-Length:", b" 4", body=b"rain")),
    bad("body over the limit by a byte", "9110 15.5.14", post(b"Content-Length: 4097", body=b"x" * 4097), 413),
    bad("coding other than chunked", "9112 6.1", post(b"Transfer-Encoding: gzip"), 501),
    bad("two codings", "9112 6.1", post(b"Transfer-Encoding: gzip, chunked", body=LAST), 501),
    bad("chunked is not the last coding", "9112 6.1", post(b"Transfer-Encoding: chunked, gzip", body=LAST), 501),
    bad("identity coding", "9112 7", post(b"Transfer-Encoding: identity"), 501),
    bad("chunked, identity", "9112 6.1", post(b"Transfer-Encoding: chunked, identity", body=LAST), 501),
    bad("chunked twice in a list", "9112 6.1", post(b"Transfer-Encoding: chunked, chunked", body=LAST), 501),
    bad("chunked twice", "9112 6.1", chunks(LAST, b"Transfer-Encoding: chunked")),
    bad("chunked, then cow", "9112 6.1", chunks(LAST, b"Transfer-encoding: cow")),
    bad("cow, then chunked", "9112 6.1", post(b"Transfer-Encoding: cow", b"Transfer-Encoding: chunked", body=LAST), 501),
    bad("xchunked", "9112 6.1", post(b"Transfer-Encoding: xchunked", body=LAST), 501),
    bad("chunked with a parameter", "9112 7", post(b"Transfer-Encoding: chunked;q=1", body=LAST), 501),
    bad("quoted chunked", "9112 7", post(b'Transfer-Encoding: "chunked"', body=LAST), 501),
    bad("empty coding", "9112 6.1", post(b"Transfer-Encoding:", b"Content-Length: 4", body=b"rain"), 501),
    bad("a comma before chunked", "9112 6.1", post(b"Transfer-Encoding: ,chunked", body=LAST), 501),
    bad("chunked behind a vertical tab", "9110 5.5", post(b"Transfer-Encoding: \x0bchunked", body=LAST)),
    bad("chunked with NUL", "9110 5.5", post(b"Transfer-Encoding: chunked\x00", body=LAST)),
    bad("chunked behind a bare LF", "9112 2.2", post(b"X-A: b\nTransfer-Encoding: chunked", body=LAST)),
    bad("chunked behind a bare CR", "9112 2.2", post(b"X-A: b\rTransfer-Encoding: chunked", body=LAST)),
    bad("space before a coding's colon", "9112 5.1", post(b"Transfer-Encoding : chunked", b"Content-Length: 4", body=LAST)),
    bad("folded coding", "9112 5.2", post(b"Transfer-Encoding:", b" chunked", body=LAST)),
    bad("chunked in HTTP/1.0", "9112 6.1", head(HOST, b"Transfer-Encoding: chunked", line=VERSION_1_0) + LAST),
    bad("chunked in kept-alive HTTP/1.0", "9112 6.1", head(HOST, b"Connection: keep-alive", b"Transfer-Encoding: chunked", line=VERSION_1_0) + LAST),
    ok("a coding's twin with an underscore", "9112 6.1", post(b"Transfer_Encoding: chunked", b"Content-Length: 4", body=b"rain"), b"rain"),
    ok("a coding that Connection names", "9110 7.6.1", chunks(BODY + LAST, b"Connection: transfer-encoding"), b"rain"),
]  # fmt: skip

CHUNKED = [
    ok("chunked", "9112 7.1", chunks(BODY + LAST), b"rain"),
    ok("chunked, no data", "9112 7.1", chunks(LAST), b""),
    ok("two chunks", "9112 7.1", chunks(b"2\r\nra\r\n2\r\nin\r\n" + LAST), b"rain"),
    ok("coding name in capitals", "9112 7", post(b"TRANSFER-ENCODING: CHUNKED", body=LAST), b""),
    ok("blanks around chunked", "9112 5.1", post(b"Transfer-Encoding:\tchunked \t", body=LAST), b""),
    ok("size in capitals", "9112 7.1", chunks(b"A\r\n0123456789\r\n" + LAST), b"0123456789"),
    ok("size with leading zeros", "9112 7.1", chunks(b"00004\r\nrain\r\n00\r\n\r\n"), b"rain"),
    ok("chunk of CRLFs", "9112 7.1", chunks(b"4\r\n\r\n\r\n\r\n" + LAST), b"\r\n\r\n"),
    ok("chunk like a last chunk", "9112 7.1", chunks(b"5\r\n0\r\n\r\n\r\n" + LAST), LAST),
    ok("extension", "9112 7.1.1", chunks(b"4;a=b\r\nrain\r\n" + LAST), b"rain"),
    ok("extension without a value", "9112 7.1.1", chunks(b"4;a\r\nrain\r\n0;b\r\n\r\n"), b"rain"),
    ok("extension in quotes", "9112 7.1.1", chunks(b'4;a="b;c"\r\nrain\r\n' + LAST), b"rain"),
    ok("blanks before an extension", "9112 7.1.1", chunks(b"4 \t;a=b\r\nrain\r\n" + LAST), b"rain"),
    ok("trailer", "9112 7.1.2", _trailer(b"X-T: 1"), b"rain"),
    ok("trailer that is announced", "9110 6.6.2", chunks(BODY + b"0\r\nX-T: 1\r\n\r\n", b"Trailer: X-T"), b"rain"),
    ok("trailer Authorization", "9110 6.5.1", _trailer(b"Authorization: admin"), b"rain"),
    ok("trailer Content-Length", "9110 6.5.1", _trailer(b"Content-Length: 99"), b"rain"),
    ok("trailer Transfer-Encoding", "9110 6.5.1", _trailer(b"Transfer-Encoding: gzip"), b"rain"),
    ok("trailer Host", "9110 6.5.1", _trailer(b"Host: evil"), b"rain"),
    ok("trailer Connection", "9110 6.5.1", _trailer(b"Connection: close"), b"rain"),
    ok("trailer X-Forwarded-For", "9110 6.5.1", _trailer(b"X-Forwarded-For: 6.6.6.6"), b"rain"),
    ok("trailer X-User-Id", "9110 6.5.1", _trailer(b"X-User-Id: somebody"), b"rain"),
    ok("trailer of the gateway's own", "9110 6.5.1", _trailer(b"X-Pointsman-Mirror: 1"), b"rain"),
    bad("size not hexadecimal", "9112 7.1", chunks(b"zz\r\nrain\r\n" + LAST)),
    bad("signed size", "9112 7.1", chunks(b"+4\r\nrain\r\n" + LAST)),
    bad("negative size", "9112 7.1", chunks(b"-4\r\nrain\r\n" + LAST)),
    bad("0x size", "9112 7.1", chunks(b"0x4\r\nrain\r\n" + LAST)),
    bad("size with a digit mark", "9112 7.1", chunks(b"0_4\r\nrain\r\n" + LAST)),
    bad("empty size", "9112 7.1", chunks(b"\r\nrain\r\n" + LAST)),
    bad("size over 64 bits", "9112 7.1", chunks(b"10000000000000004\r\nrain\r\n" + LAST)),
    bad("size of 17 digits", "9112 7.1", chunks(b"fffffffffffffffff\r\n")),
    bad("size of 16 zeros and a digit", "9112 7.1", chunks(b"00000000000000004\r\nrain\r\n" + LAST)),
    bad("space before a size", "9112 7.1", chunks(b" 4\r\nrain\r\n" + LAST)),
    bad("space behind a size", "9112 7.1", chunks(b"4 \r\nrain\r\n" + LAST)),
    bad("tab behind a size", "9112 7.1", chunks(b"4\t\r\nrain\r\n" + LAST)),
    bad("two sizes", "9112 7.1", chunks(b"4 4\r\nrain\r\n" + LAST)),
    bad("size behind a vertical tab", "9112 7.1", chunks(b"\x0b4\r\nrain\r\n" + LAST)),
    bad("NUL in a size", "9112 7.1", chunks(b"4\x00\r\nrain\r\n" + LAST)),
    bad("extension with NUL", "9112 7.1.1", chunks(b"4;a\x00\r\nrain\r\n" + LAST)),
    bad("extension with a bare LF", "9112 7.1.1", chunks(b"4;a\nb\r\nrain\r\n" + LAST)),
    bad("extension with a bare CR", "9112 7.1.1", chunks(b"4;a\rb\r\nrain\r\n" + LAST)),
    bad("extension that is endless", "9112 7.1.1", chunks(b"4;" + b"a" * MAX_LINE + b"\r\nrain\r\n" + LAST)),
    bad("size line ends with LF", "9112 7.1", chunks(b"4\nrain\r\n" + LAST)),
    bad("size line ends with CR", "9112 7.1", chunks(b"4\rrain\r\n" + LAST)),
    bad("data longer than the size", "9112 7.1", chunks(b"3\r\nrain\r\n" + LAST)),
    bad("data shorter than the size", "9112 7.1", chunks(b"5\r\nrain\r\n" + LAST)),
    bad("no CRLF behind data", "9112 7.1", chunks(b"4\r\nrain" + LAST)),
    bad("LF behind data", "9112 7.1", chunks(b"4\r\nrain\n" + LAST)),
    bad("CR behind data", "9112 7.1", chunks(b"4\r\nrain\r" + LAST)),
    bad("LF ends the last chunk", "9112 7.1", chunks(BODY + b"0\n\r\n")),
    bad("LF ends the trailers", "9112 7.1", chunks(BODY + b"0\r\n\n")),
    bad("chunked body over the limit", "9110 15.5.14", chunks(b"1001\r\n" + b"x" * 4097 + b"\r\n" + LAST), 413),
    bad("chunks over the limit together", "9110 15.5.14", chunks(b"800\r\n" + b"x" * 2048 + b"\r\n" + b"801\r\n" + b"x" * 2049 + b"\r\n" + LAST), 413),
    bad("trailer without a colon", "9112 7.1.2", _trailer(b"bad trailer")),
    bad("trailer with a space before the colon", "9112 5.1", _trailer(b"X-T : 1")),
    bad("trailer that is folded", "9112 5.2", _trailer(b"X-T: 1\r\n 2")),
    bad("trailer with a bare LF", "9112 2.2", _trailer(b"X-T: 1\nX-U: 2")),
    bad("trailer with a bare CR", "9112 2.2", _trailer(b"X-T: 1\rX-U: 2")),
    bad("trailer with NUL", "9110 5.5", _trailer(b"X-T: \x00")),
    bad("trailers that are endless", "6585 5", _trailer(b"X-T: " + b"a" * MAX_TRAILERS)),
]  # fmt: skip

LINES = [
    ok("leading CRLF", "9112 2.2", b"\r\n" + post(b"Content-Length: 0"), b""),
    ok("several leading CRLFs", "9112 2.2", b"\r\n" * 5 + post()),
    ok("HTTP/1.2 is spoken to as 1.1", "9110 2.5", line(b"POST " + TARGET + b" HTTP/1.2")),
    ok("HTTP/1.9 is spoken to as 1.1", "9110 2.5", line(b"POST " + TARGET + b" HTTP/1.9")),
    ok("HTTP/1.0", "9112 9.3", head(HOST, line=VERSION_1_0), closes=True),
    ok("HTTP/1.0 without Host", "9112 3.2", head(b"X-A: b", line=VERSION_1_0), closes=True, x_a="b"),
    ok("HTTP/1.0 keep-alive", "9112 C.2.2", head(HOST, b"Connection: keep-alive", line=VERSION_1_0), answer={"connection": "keep-alive"}),
    ok("HTTP/1.0 Keep-Alive in capitals", "9112 C.2.2", head(HOST, b"Connection: Keep-Alive", line=VERSION_1_0), answer={"connection": "keep-alive"}),
    ok("HTTP/1.0 close and keep-alive", "9112 9.3", head(HOST, b"Connection: close, keep-alive", line=VERSION_1_0), closes=True),
    bad("two spaces behind the method", "9112 3", line(b"POST  " + TARGET + b" HTTP/1.1")),
    bad("two spaces before the version", "9112 3", line(b"POST " + TARGET + b"  HTTP/1.1")),
    bad("space before the method", "9112 3", line(b" POST " + TARGET + b" HTTP/1.1")),
    bad("space behind the version", "9112 3", line(b"POST " + TARGET + b" HTTP/1.1 ")),
    bad("tab in place of a space", "9112 3", line(b"POST\t" + TARGET + b"\tHTTP/1.1")),
    bad("form feed in place of a space", "9112 3", line(b"POST\x0c" + TARGET + b" HTTP/1.1")),
    bad("no version", "9112 3", line(b"POST " + TARGET)),
    bad("no target", "9112 3", line(b"POST HTTP/1.1")),
    bad("no method", "9112 3", line(TARGET + b" HTTP/1.1")),
    bad("HTTP/0.9 request", "9112 3", b"GET " + TARGET + b"\r\n"),
    bad("HTTP/0.9 by name", "9110 15.6.6", line(b"GET " + TARGET + b" HTTP/0.9"), 505),
    bad("HTTP/2.0", "9110 15.6.6", line(b"POST " + TARGET + b" HTTP/2.0"), 505),
    bad("HTTP/2 preface", "9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    bad("HTTP/1.10", "9112 2.3", line(b"POST " + TARGET + b" HTTP/1.10")),
    bad("HTTP/01.1", "9112 2.3", line(b"POST " + TARGET + b" HTTP/01.1")),
    bad("HTTP/1", "9112 2.3", line(b"POST " + TARGET + b" HTTP/1")),
    bad("HTTP/1.x", "9112 2.3", line(b"POST " + TARGET + b" HTTP/1.x")),
    bad("HTTP/1,1", "9112 2.3", line(b"POST " + TARGET + b" HTTP/1,1")),
    bad("HTTP /1.1", "9112 2.3", line(b"POST " + TARGET + b" HTTP /1.1")),
    bad("http/1.1 in small letters", "9112 2.3", line(b"POST " + TARGET + b" http/1.1")),
    bad("another protocol", "9112 2.3", line(b"POST " + TARGET + b" ICAP/1.1")),
    bad("NUL behind the version", "9112 2.3", line(b"POST " + TARGET + b" HTTP/1.1\x00")),
    bad("method with a bracket", "9110 9.1", line(b"PO(ST " + TARGET + b" HTTP/1.1")),
    bad("method with NUL", "9110 9.1", line(b"PO\x00ST " + TARGET + b" HTTP/1.1")),
    bad("method with a colon", "9110 9.1", line(b"POST: " + TARGET + b" HTTP/1.1")),
    bad("TLS hello", "9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n"),
    bad("SSH banner", "9112 3", b"SSH-2.0-OpenSSH_9.2\r\n"),
    bad("bare LF ends the request line", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\nHost: models\r\n\r\n"),
    bad("bare CR ends the request line", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\rHost: models\r\n\r\n"),
    bad("CR CR LF ends the request line", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\r\r\nHost: models\r\n\r\n"),
    bad("bare LF before the request", "9112 2.2", b"\n" + post()),
    bad("blank before the first field", "9112 2.2", head(b" Host: models")),
    bad("request line too long", "9110 15.5.15", target(b"/" + b"a" * MAX_TARGET), 414),
    bad("method too long", "9110 15.5.15", line(b"A" * MAX_TARGET + b" / HTTP/1.1"), 414),
    away("a request line that is just not too long", "9112 3", target(b"/" + b"a" * (MAX_TARGET - len(b"GET / HTTP/1.1"))), 404),
    away("method in small letters", "9110 9.1", target(TARGET, b"post"), 405, allow="GET, HEAD, POST"),
    away("unknown method", "9110 9.1", target(TARGET, b"PREDICT"), 405, allow="GET, HEAD, POST"),
    away("DELETE", "9110 15.5.6", target(TARGET, b"DELETE"), 405, allow="GET, HEAD, POST"),
    away("PUT with its body", "9110 15.5.6", line(b"PUT " + TARGET + b" HTTP/1.1", b"Content-Length: 4") + b"rain", 405, allow="GET, HEAD, POST"),
    away("OPTIONS", "9110 9.3.7", target(TARGET, b"OPTIONS"), 405, allow="GET, HEAD, POST"),
    away("TRACE is not echoed", "9110 9.3.8", line(b"TRACE " + TARGET + b" HTTP/1.1", b"Cookie: secret"), 405, allow="GET, HEAD, POST"),
    away("CONNECT", "9110 9.3.6", line(b"CONNECT models:443 HTTP/1.1"), 404),
    ok("GET", "9110 9.3.1", target(TARGET), method="GET"),
    ok("HEAD", "9110 9.3.2", target(TARGET, b"HEAD"), method="HEAD"),
    away("HEAD of an unknown path", "9110 9.3.2", target(b"/nowhere", b"HEAD"), 404),
]  # fmt: skip

TARGETS = [
    ok("query", "9112 3.2.1", target(TARGET + b"?a=1&b=%20"), method="GET", query="?a=1&b=%20"),
    ok("empty query", "9112 3.2.1", target(TARGET + b"?"), method="GET", query="?"),
    ok("query with encoded CRLF stays encoded", "9112 11.1", target(TARGET + b"?a=%0d%0aX-Evil:%201"), method="GET", query="?a=%0d%0aX-Evil:%201"),
    ok("query like a URL", "9112 3.2.1", target(TARGET + b"?u=http://a@b/c"), method="GET", query="?u=http://a@b/c"),
    ok("absolute-form", "9112 3.2.2", target(b"http://models" + TARGET), method="GET"),
    ok("absolute-form in capitals", "9110 4.2.3", target(b"HTTP://MODELS" + TARGET), method="GET"),
    ok("absolute-form of https", "9112 3.2.2", target(b"https://models:443" + TARGET), method="GET"),
    ok("absolute-form with a query", "9112 3.2.2", target(b"http://models" + TARGET + b"?a=1"), method="GET", query="?a=1"),
    ok("absolute-form of another authority", "9112 3.2.2", target(b"http://evil:81" + TARGET), method="GET"),
    ok("absolute-form of an IPv6 literal", "9112 3.2.2", target(b"http://[::1]:80" + TARGET), method="GET"),
    bad("absolute-form without Host", "9112 3.2.2", head(line=b"GET http://models" + TARGET + b" HTTP/1.1")),
    away("absolute-form without a path", "9112 3.2.1", target(b"http://models"), 404),
    away("absolute-form with a query for a path", "9112 3.2.1", target(b"http://models?a=1"), 404),
    bad("absolute-form with userinfo", "9110 4.2.4", target(b"http://a:b@models" + TARGET)),
    bad("absolute-form without a host", "9110 4.2.1", target(b"http://" + TARGET)),
    bad("absolute-form of another scheme", "9112 3.2.2", target(b"ftp://models" + TARGET)),
    bad("absolute-form with one slash", "9112 3.2.2", target(b"http:/models" + TARGET)),
    bad("authority-form without CONNECT", "9112 3.2.3", target(b"models:80")),
    away("asterisk-form", "9112 3.2.4", target(b"*", b"OPTIONS"), 404),
    away("asterisk-form without OPTIONS", "9112 3.2.4", target(b"*"), 404),
    bad("target without a slash", "9112 3.2", target(b"nowhere")),
    bad("fragment", "9112 3.2", target(TARGET + b"#b")),
    bad("control byte in the target", "9112 3.2", target(TARGET + b"\x01")),
    bad("NUL in the target", "9112 3.2", target(TARGET + b"\x00")),
    bad("DEL in the target", "9112 3.2", target(TARGET + b"\x7f")),
    bad("raw byte over 127 in the target", "9112 3.2", target(TARGET + b"?a=\xfc")),
    bad("space in the target", "9112 3.2", target(TARGET + b"?a= b")),
    bad("tab in the target", "9112 3.2", target(TARGET + b"?a=\tb")),
    away("unknown path", "9110 15.5.5", target(b"/nowhere"), 404),
    away("unknown path with its body", "9110 15.5.5", line(b"POST /nowhere HTTP/1.1", b"Content-Length: 4") + b"rain", 404),
    bad("unknown path with a body of unknown length", "9112 9.3", line(b"POST /nowhere HTTP/1.1", b"Transfer-Encoding: chunked") + BODY + LAST, 404),
    away("dot segments are another path", "9110 4.2.3", target(b"/v2/x/.." + TARGET), 404),
    away("encoded letters are another path", "9110 4.2.3", target(TARGET.replace(b"rain", b"%72ain")), 404),
    away("two slashes are another path", "9110 4.2.3", target(b"/" + TARGET), 404),
    away("a slash at the end is another path", "9110 4.2.3", target(TARGET + b"/"), 404),
    away("an encoded NUL is another path", "9110 4.2.3", target(TARGET + b"%00"), 404),
    away("a backslash is another path", "9110 4.2.3", target(TARGET.replace(b"/", b"\\").replace(b"\\", b"/", 1)), 404),
]  # fmt: skip

HOSTS = [
    ok("tabs around a host", "9112 5.1", head(b"Host:\tmodels\t")),
    ok("host with port", "9110 7.2", head(b"Host: models:8080")),
    ok("host in capitals", "9110 5.1", head(b"HOST: MODELS")),
    ok("host is an IPv4 address", "9110 7.2", head(b"Host: 127.0.0.1:80")),
    ok("host is an IPv6 literal", "9110 7.2", head(b"Host: [::1]:8080")),
    ok("empty host", "9110 7.2", head(b"Host:")),
    ok("host that Connection names", "9110 7.6.1", post(b"Connection: host")),
    bad("no Host", "9112 3.2", head(b"X-A: b")),
    bad("two Hosts", "9112 3.2", post(b"Host: other")),
    bad("two Hosts that agree", "9112 3.2", post(HOST)),
    bad("two Hosts in two cases", "9112 3.2", post(b"hOsT: other")),
    bad("two Hosts in HTTP/1.0", "9112 3.2", head(HOST, HOST, line=VERSION_1_0)),
    bad("Host with a space", "9112 3.2", head(b"Host: mod els")),
    bad("Host with a path", "9112 3.2", head(b"Host: models/x")),
    bad("Host with a query", "9112 3.2", head(b"Host: models?x")),
    bad("Host with userinfo", "9112 3.2", head(b"Host: a@models")),
    bad("Host with a scheme", "9112 3.2", head(b"Host: http://models")),
    bad("Host with a port of letters", "9112 3.2", head(b"Host: models:8a")),
    bad("Host with two ports", "9112 3.2", head(b"Host: models:80:81")),
    bad("Host is an IPv6 address without brackets", "9112 3.2", head(b"Host: ::1")),
    bad("Host with half a bracket", "9112 3.2", head(b"Host: [::1")),
    bad("Host with NUL", "9112 3.2", head(b"Host: models\x00")),
    bad("Host with a byte over 127", "9112 3.2", head(b"Host: m\xfcdels")),
    bad("Host with a quote", "9112 3.2", head(b'Host: "models"')),
    bad("space before the Host's colon", "9112 5.1", head(b"Host : models")),
]  # fmt: skip

FIELDS = [
    ok("field", "9112 5", post(b"X-A: b"), x_a="b"),
    ok("no blank behind the colon", "9112 5.1", post(b"X-A:b"), x_a="b"),
    ok("blanks around a value", "9112 5.1", post(b"X-A: \t b \t "), x_a="b"),
    ok("tab in a value", "9110 5.5", post(b"X-A: a\tb"), x_a="a\tb"),
    ok("colon in a value", "9112 5", post(b"X-A: b:c"), x_a="b:c"),
    ok("empty value", "9110 5.5", post(b"X-A:"), x_a=""),
    ok("blanks for a value", "9110 5.5", post(b"X-A: \t "), x_a=""),
    ok("obs-text in a value", "9110 5.5", post(b"X-A: J\xfcrgen"), x_a="J\xfcrgen"),
    ok("UTF-8 in a value", "9110 5.5", post("X-A: 雨".encode()), x_a="雨".encode().decode("latin-1")),
    ok("every byte of a token in a name", "9110 5.6.2", post(b"!#$%&'*+-.^`|~: t"), more={"!#$%&'*+-.^`|~": "t"}),
    ok("a field of two lines keeps its order", "9110 5.3", post(b"X-A: b", b"x-a: c", b"X-A: a"), x_a="b|c|a"),
    ok("a long value", "9110 5.4", post(b"X-A: " + b"y" * 8000), x_a="y" * 8000),
    ok("as many fields as may be", "6585 5", post(*(b"X-%d: y" % n for n in range(MAX_FIELDS - 1))), more={f"x-{n}": "y" for n in range(MAX_FIELDS - 1)}),
    bad("one field too many", "6585 5", post(*(b"X-%d: y" % n for n in range(MAX_FIELDS))), 431),
    bad("a flood of fields", "6585 5", post(*(b"X: y" for _ in range(5000))), 431),
    bad("head too long by a value", "6585 5", post(b"X-A: " + b"y" * MAX_HEAD), 431),
    bad("head too long by a name", "6585 5", post(b"X" * MAX_HEAD + b": y"), 431),
    bad("obs-fold", "9112 5.2", post(b"X-A: b", b" c")),
    bad("obs-fold by a tab", "9112 5.2", post(b"X-A: b", b"\tc")),
    bad("obs-fold of nothing", "9112 5.2", post(b"X-A: b", b" ")),
    bad("obs-fold like a field", "9112 5.2", post(b"X-A: b", b" Content-Length: 4", body=b"rain")),
    bad("bare LF between fields", "9112 2.2", post(b"X-A: b\nX-B: c")),
    bad("bare LF ends the head", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\r\nHost: models\n\n"),
    bad("bare CR in a value", "9112 2.2", post(b"X-A: b\rc")),
    bad("bare CR ends a value", "9112 2.2", post(b"X-A: b\r")),
    bad("bare CR before a name", "9112 2.2", post(b"\rX-A: b")),
    bad("NUL in a value", "9110 5.5", post(b"X-A: b\x00c")),
    bad("control byte in a value", "9110 5.5", post(b"X-A: b\x07c")),
    bad("escape in a value", "9110 5.5", post(b"X-A: \x1b[31m")),
    bad("DEL in a value", "9110 5.5", post(b"X-A: b\x7fc")),
    bad("space before the colon", "9112 5.1", post(b"X-A : b")),
    bad("tab before the colon", "9112 5.1", post(b"X-A\t: b")),
    bad("space in a name", "9112 5.1", post(b"X A: b")),
    bad("bracket in a name", "9110 5.6.2", post(b"X(A: b")),
    bad("slash in a name", "9110 5.6.2", post(b"X/A: b")),
    bad("quote in a name", "9110 5.6.2", post(b'X"A: b')),
    bad("byte over 127 in a name", "9110 5.6.2", post(b"X-\xe4: b")),
    bad("NUL in a name", "9110 5.6.2", post(b"X\x00A: b")),
    bad("no colon", "9112 5", post(b"X-A")),
    bad("empty name", "9112 5", post(b": b")),
    bad("only a colon", "9112 5", post(b":")),
    bad("a second request line", "9112 5", post(b"GET / HTTP/1.1")),
]  # fmt: skip

CONNECTIONS = [
    ok("connection: close", "9112 9.6", post(b"Connection: close"), closes=True),
    ok("connection: Close among others", "9112 9.6", post(b"Connection: x-a, Close"), closes=True),
    ok("connection: close in a second line", "9112 9.6", post(b"Connection: x-a", b"Connection: close"), closes=True),
    ok("connection: keep-alive", "9112 9.3", post(b"Connection: keep-alive")),
    ok("connection: close and keep-alive", "9112 9.6", post(b"Connection: keep-alive, close"), closes=True),
    ok("connection: not quite close", "9112 9.6", post(b"Connection: closed, x-close")),
    ok("connection: nothing", "9110 5.6.1", post(b"Connection:")),
    ok("connection: empty elements", "9110 5.6.1", post(b"Connection: , ,x-a,, ", b"X-A: b")),
    ok("a field that Connection names", "9110 7.6.1", post(b"Connection: X-A", b"X-A: b", b"X-B: c"), x_b="c"),
    ok("a field that Connection names before and behind it", "9110 7.6.1", post(b"X-A: b", b"Connection: x-a", b"X-a: c")),
    ok("two fields that Connection names", "9110 7.6.1", post(b"Connection: x-a ,\tX-B", b"X-A: b", b"X-B: c", b"X-C: d"), x_c="d"),
    ok("a field whose name only begins so", "9110 7.6.1", post(b"Connection: x-a", b"X-Ab: c"), x_ab="c"),
    ok("Content-Type stays though Connection names it", "9110 7.6.1", post(b"Connection: content-type", b"Content-Type: text/csv"), content_type="text/csv"),
    ok("a field of the gateway's that Connection names", "9110 7.6.1", post(b"Connection: x-forwarded-for, via, x-request-id")),
    ok("Keep-Alive", "9110 7.6.1", post(b"Keep-Alive: timeout=5")),
    ok("Proxy-Connection", "9112 C.2.2", post(b"Proxy-Connection: close")),
    ok("TE", "9110 10.1.4", post(b"TE: trailers", b"Connection: TE")),
    ok("Trailer", "9110 6.6.2", post(b"Trailer: x-a")),
    ok("Upgrade", "9110 7.8", post(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"), sec_websocket_version="13"),
    ok("Upgrade to HTTP/2", "9113 3.1", post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")),
    ok("end-to-end fields stay", "9110 7.6.1", post(b"Authorization: Bearer t", b"Cookie: a=b", b"Accept: */*", b"User-Agent: x/1"), authorization="Bearer t", cookie="a=b", accept="*/*", user_agent="x/1"),
    ok("Via is added to", "9110 7.6.3", post(b"Via: 1.0 fred"), via="1.0 fred"),
    ok("X-Forwarded-For is not believed", "7239 8.1", post(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Host: evil", b"X-Forwarded-Proto: https")),
    ok("Forwarded is not believed", "7239 8.1", post(b"Forwarded: for=6.6.6.6", b"X-Real-IP: 6.6.6.6")),
    ok("twins of forwarding fields", "3875 4.1.18", post(b"X_Forwarded_For: 6.6.6.6", b"X-Real_IP: 6.6.6.6", b"X_Pointsman_Arm: candidate")),
    ok("the gateway's own fields", "9110 7.7", post(b"X-Pointsman-Mirror: 1", b"X-Pointsman-Arm: candidate", b"X-Envoy-Original-Path: /")),
    ok("Expect with its body", "9110 10.1.1", post(b"Expect: 100-continue", b"Content-Length: 4", body=b"rain"), b"rain"),
    ok("Expect in capitals", "9110 10.1.1", post(b"Expect: 100-Continue", b"Content-Length: 4", body=b"rain"), b"rain"),
    ok("Expect in HTTP/1.0 is ignored", "9110 10.1.1", head(HOST, b"Expect: 100-continue", b"Content-Length: 4", line=VERSION_1_0) + b"rain", b"rain", closes=True),
    bad("unknown expectation", "9110 10.1.1", post(b"Expect: magic"), 417),
    bad("a known and an unknown expectation", "9110 10.1.1", post(b"Expect: 100-continue, magic"), 417),
    bad("Expect and a body over the limit", "9110 10.1.1", post(b"Expect: 100-continue", b"Content-Length: 4097"), 413),
]  # fmt: skip

CASES = [*FRAMING, *CHUNKED, *LINES, *TARGETS, *HOSTS, *FIELDS, *CONNECTIONS]
