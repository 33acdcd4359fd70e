"""What a model server may answer, what the client gets of it, and what is refused: RFC 9110 and RFC 9112.

A row is the bytes of one answer and its fate: what the client reads, to the last field, and whether the
connection to the model server is used again. An answer that is refused is a 502 of the gateway's own; one that
breaks after the client has its head ends the client's connection, so that nobody takes it for whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.chunks import MAX_LINE, MAX_TRAILERS
from gateway.head import MAX_FIELDS, MAX_HEAD
from gateway.upstream import MAX_INTERIM
from tests.support.gateway import PATH, post

POST = post()
GET_1_0 = b"GET %b HTTP/1.0\r\n\r\n" % PATH.encode()
HEAD = b"HEAD %b HTTP/1.1\r\nHost: models\r\n\r\n" % PATH.encode()

REFUSED = 502
CUT = 0
"""The client's connection breaks before the answer is whole."""


NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """`reused`: the model server's connection serves the next request; `closes`: the model server closes it."""

    name: str
    section: str
    answer: bytes
    status: int
    reused: bool
    closes: bool = False
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)
    interim: tuple[int, ...] = ()
    request: bytes = POST


def head(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


def sized(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """An answer of four bytes."""
    return head(b"content-length: 4", *fields, line=line) + b"rain"


def chunks(body: bytes, *fields: bytes) -> bytes:
    return head(b"transfer-encoding: chunked", *fields) + body


def got(
    name: str, section: str, answer: bytes, body: bytes = b"rain", status: int = 200, *, reused: bool = True,
    closes: bool = False, interim: tuple[int, ...] = (), request: bytes = POST, framing: str = "sized",
    more: Mapping[str, str] = NOTHING, **fields: str,
) -> Case:  # fmt: skip
    """`framing` is what the client sees: sized, chunked, or none; underscores in `fields` stand for hyphens."""
    seen = {name.replace("_", "-"): value for name, value in fields.items()} | dict(more)
    if framing == "sized":
        seen["content-length"] = str(len(body))
    elif framing == "chunked":
        seen["transfer-encoding"] = "chunked"
    return Case(name, section, answer, status, reused, closes, body, seen, interim, request)


def bad(
    name: str, section: str, answer: bytes, *, closes: bool = False, interim: tuple[int, ...] = ()
) -> Case:
    return Case(name, section, answer, REFUSED, reused=False, closes=closes, interim=interim)


def cut(name: str, section: str, answer: bytes, *, closes: bool = False) -> Case:
    return Case(name, section, answer, CUT, reused=False, closes=closes)


BODY = b"4\r\nrain\r\n"
LAST = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified"


def status(line: bytes) -> bytes:
    return sized(line=line)


FRAMING = [
    got("content-length", "9112 6.2", sized()),
    got("zero length", "9112 6.2", head(b"content-length: 0"), b""),
    got("length with leading zeros", "9110 8.6", head(b"content-length: 0004") + b"rain", framing="none", content_length="0004"),
    got("chunked", "9112 7.1", chunks(b"2\r\nra\r\n2\r\nin\r\n" + LAST), framing="chunked"),
    got("chunked, no data", "9112 7.1", chunks(LAST), b"", framing="chunked"),
    got("chunked in capitals", "9112 7", head(b"Transfer-Encoding: CHUNKED") + BODY + LAST, framing="chunked"),
    got("chunk extension is not passed on", "9112 7.1.1", chunks(b"4;a=b\r\nrain\r\n" + LAST), framing="chunked"),
    got("trailer is not passed on", "9110 6.5.1", chunks(BODY + b"0\r\nx-evil: 1\r\n\r\n"), framing="chunked"),
    got("trailer Set-Cookie is not passed on", "9110 6.5.1", chunks(BODY + b"0\r\nset-cookie: a=b\r\n\r\n", b"trailer: set-cookie"), framing="chunked"),
    got("close-delimited", "9112 6.3", head() + b"rain", reused=False, closes=True, framing="chunked"),
    got("close-delimited, no data", "9112 6.3", head(), b"", reused=False, closes=True, framing="chunked"),
    got("close-delimited for an HTTP/1.0 client", "9112 6.3", head() + b"rain", reused=False, closes=True, request=GET_1_0, framing="none"),
    got("chunked for an HTTP/1.0 client", "9112 6.1", chunks(BODY + LAST), request=GET_1_0, framing="none"),
    got("content-length for an HTTP/1.0 client", "9112 6.2", sized(), request=GET_1_0),
    got("HTTP/1.0", "9112 9.3", status(b"HTTP/1.0 200 OK"), reused=False),
    got("HTTP/1.0 close-delimited", "9112 6.3", head(line=b"HTTP/1.0 200 OK") + b"rain", reused=False, closes=True, framing="chunked"),
    got("HTTP/1.0 keep-alive", "9112 C.2.2", sized(b"connection: keep-alive", line=b"HTTP/1.0 200 OK")),
    got("204", "9110 15.3.5", head(line=NO_CONTENT), b"", 204, framing="none"),
    got("204 of length 0", "9110 8.6", head(b"content-length: 0", line=NO_CONTENT), b"", 204, framing="none"),
    got("204 with a length", "9110 8.6", head(b"content-length: 4", line=NO_CONTENT), b"", 204, framing="none"),
    got("204 in chunks", "9112 6.1", head(b"transfer-encoding: chunked", line=NO_CONTENT), b"", 204, framing="none"),
    got("304", "9110 15.4.5", head(line=NOT_MODIFIED), b"", 304, framing="none"),
    got("304 with a length", "9110 8.6", head(b"content-length: 9", line=NOT_MODIFIED), b"", 304, framing="none", content_length="9"),
    got("304 in chunks", "9112 6.3", head(b"transfer-encoding: chunked", line=NOT_MODIFIED), b"", 304, framing="none"),
    got("205 of length 0", "9110 15.3.6", head(b"content-length: 0", line=b"HTTP/1.1 205 Reset Content"), b"", 205),
    got("to HEAD, with a length", "9110 9.3.2", head(b"content-length: 9"), b"", request=HEAD, framing="none", content_length="9"),
    got("to HEAD, without a length", "9110 9.3.2", head(), b"", request=HEAD, framing="none"),
    got("to HEAD, 404 with a length", "9110 9.3.2", head(b"content-length: 9", line=b"HTTP/1.1 404 Not Found"), b"", 404, request=HEAD, framing="none", content_length="9"),
    got("to HEAD, with a body", "9112 6.3", sized(), b"", request=HEAD, reused=False, framing="none", content_length="4"),
    bad("two lengths that differ", "9112 6.3", head(b"content-length: 4", b"content-length: 5") + b"rain"),
    bad("two lengths that agree", "9112 6.3", head(b"content-length: 4", b"content-length: 4") + b"rain"),
    bad("list of lengths", "9112 6.3", head(b"content-length: 4, 4") + b"rain"),
    bad("signed length", "9110 8.6", head(b"content-length: +4") + b"rain"),
    bad("negative length", "9110 8.6", head(b"content-length: -4") + b"rain"),
    bad("hexadecimal length", "9110 8.6", head(b"content-length: 0x4") + b"rain"),
    bad("empty length", "9110 8.6", head(b"content-length:") + b"rain"),
    bad("length over 64 bits", "9110 8.6", head(b"content-length: 18446744073709551620") + b"rain"),
    bad("length and chunked", "9112 6.3", chunks(LAST, b"content-length: 4")),
    bad("other coding", "9112 6.1", head(b"transfer-encoding: gzip") + b"rain"),
    bad("two codings", "9112 6.1", head(b"transfer-encoding: gzip, chunked") + LAST),
    bad("chunked twice", "9112 6.1", chunks(LAST, b"transfer-encoding: chunked")),
    bad("chunked in HTTP/1.0", "9112 6.1", head(b"transfer-encoding: chunked", line=b"HTTP/1.0 200 OK") + LAST),
    bad("space before a coding's colon", "9112 5.1", head(b"transfer-encoding : chunked") + LAST),
    got("surplus behind a length", "9112 9.2", sized() + b"HTTP/1.1 200 OK\r\n\r\n", reused=False),
    got("surplus CRLF behind a length", "9112 9.2", sized() + b"\r\n", reused=False),
    got("surplus behind chunks", "9112 9.2", chunks(BODY + LAST) + b"more", reused=False, framing="chunked"),
    got("surplus behind 204", "9112 9.2", head(line=NO_CONTENT) + b"rain", b"", 204, reused=False, framing="none"),
    got("surplus behind 304", "9112 9.2", head(line=NOT_MODIFIED) + b"rain", b"", 304, reused=False, framing="none"),
    got("a second answer nobody asked for", "9112 9.2", sized() + sized(), reused=False),
    cut("short body", "9112 8", head(b"content-length: 9") + b"rain", closes=True),
    cut("no body", "9112 8", head(b"content-length: 9"), closes=True),
    cut("short chunk", "9112 8", chunks(b"9\r\nrain"), closes=True),
    cut("no last chunk", "9112 8", chunks(BODY), closes=True),
    cut("no end of the trailers", "9112 8", chunks(BODY + b"0\r\n"), closes=True),
    cut("chunk size not hexadecimal", "9112 7.1", chunks(BODY + b"zz\r\n")),
    cut("signed chunk size", "9112 7.1", chunks(b"+4\r\nrain\r\n" + LAST)),
    cut("0x chunk size", "9112 7.1", chunks(b"0x4\r\nrain\r\n" + LAST)),
    cut("chunk size over 64 bits", "9112 7.1", chunks(b"10000000000000004\r\nrain\r\n" + LAST)),
    cut("chunk longer than its size", "9112 7.1", chunks(b"3\r\nrain\r\n" + LAST)),
    cut("chunk line ends with LF", "9112 7.1", chunks(b"4\nrain\r\n" + LAST)),
    cut("endless chunk extension", "9112 7.1.1", chunks(b"4;" + b"a" * (MAX_LINE + 1))),
    cut("endless trailers", "6585 5", chunks(BODY + b"0\r\nx-t: " + b"a" * (MAX_TRAILERS + 1))),
    cut("malformed trailer", "9112 7.1.2", chunks(BODY + b"0\r\nno trailer\r\n\r\n")),
    cut("close-delimited in chunks that end early", "9112 8", chunks(b"4\r\nra"), closes=True),
]  # fmt: skip

LINES = [
    got("no reason phrase", "9112 4", status(b"HTTP/1.1 200")),
    got("empty reason phrase", "9112 4", status(b"HTTP/1.1 200 ")),
    got("obs-text in the reason phrase", "9112 4", status(b"HTTP/1.1 200 J\xfcrgen")),
    got("an error of the model", "9110 15.5.21", status(b"HTTP/1.1 422 No"), status=422),
    got("an overloaded model", "9110 15.6.4", sized(b"retry-after: 3", line=b"HTTP/1.1 503 Busy"), status=503, retry_after="3"),
    got("an unknown status", "9110 15", status(b"HTTP/1.1 299 Mostly"), status=299),
    got("a redirect is passed on, not followed", "9110 15.4", sized(b"location: http://evil/", line=b"HTTP/1.1 302 Found"), status=302, location="http://evil/"),
    got("401 with its challenge", "9110 15.5.2", sized(b"www-authenticate: Basic", line=b"HTTP/1.1 401 Who"), status=401, www_authenticate="Basic"),
    bad("status of two digits", "9112 4", status(b"HTTP/1.1 20 OK")),
    bad("status of four digits", "9112 4", status(b"HTTP/1.1 2000 OK")),
    bad("status 099", "9110 15", status(b"HTTP/1.1 099 OK")),
    bad("status 600", "9110 15", status(b"HTTP/1.1 600 OK")),
    bad("signed status", "9112 4", status(b"HTTP/1.1 +20 OK")),
    bad("no status", "9112 4", status(b"HTTP/1.1 OK")),
    bad("no space behind the version", "9112 4", status(b"HTTP/1.1200 OK")),
    bad("two spaces behind the version", "9112 4", status(b"HTTP/1.1  200 OK")),
    bad("no space behind the status", "9112 4", status(b"HTTP/1.1 200OK")),
    bad("tab behind the status", "9112 4", status(b"HTTP/1.1 200\tOK")),
    bad("http/1.1 in small letters", "9112 2.3", status(b"http/1.1 200 OK")),
    bad("HTTP/1.2 from a server", "9112 2.3", status(b"HTTP/1.2 200 OK")),
    bad("HTTP/2.0", "9112 2.3", status(b"HTTP/2.0 200 OK")),
    bad("HTTP/1.10", "9112 2.3", status(b"HTTP/1.10 200 OK")),
    bad("HTTP/0.9", "9112 2.3", b"rain\r\n"),
    bad("another protocol", "9112 4", b"SSH-2.0-OpenSSH_9.2\r\n"),
    bad("ICY", "9112 4", status(b"ICY 200 OK")),
    bad("CRLF before the status line", "9112 2.2", b"\r\n" + sized()),
    bad("NUL in the reason phrase", "9112 4", status(b"HTTP/1.1 200 O\x00K")),
    bad("bare CR in the reason phrase", "9112 4", status(b"HTTP/1.1 200 O\rK")),
    bad("escape in the reason phrase", "9112 4", status(b"HTTP/1.1 200 \x1b[31m")),
    bad("bare LF ends the status line", "9112 2.2", b"HTTP/1.1 200 OK\ncontent-length: 4\r\n\r\nrain"),
    bad("nothing", "9112 8", b"", closes=True),
    bad("half a status line", "9112 8", b"HTTP/1.1 2", closes=True),
    bad("half a head", "9112 8", b"HTTP/1.1 200 OK\r\ncontent-le", closes=True),
    bad("a head without its last CRLF", "9112 8", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", closes=True),
]  # fmt: skip

INTERIM = [
    got("100 first", "9110 15.2.1", CONTINUE + sized()),
    got("three times 100 first", "9110 15.2", CONTINUE * 3 + sized()),
    got("103 is passed on", "8297 2", HINTS + sized(), interim=(103,)),
    got("103 twice, 100 between", "9110 15.2", HINTS + CONTINUE + HINTS + sized(), interim=(103, 103)),
    got("103 is not for HTTP/1.0", "9110 15.2", HINTS + sized(), request=GET_1_0),
    got("103 with a length", "9110 8.6", b"HTTP/1.1 103 Early Hints\r\ncontent-length: 9\r\n\r\n" + sized(), interim=(103,)),
    got("102 is passed on", "9110 15.2", b"HTTP/1.1 102 Processing\r\n\r\n" + sized(), interim=(102,)),
    got("as many interim answers as may be", "9110 15.2", CONTINUE * MAX_INTERIM + sized()),
    bad("one interim answer too many", "9110 15.2", CONTINUE * (MAX_INTERIM + 1) + sized()),
    bad("unasked 101", "9110 15.2.2", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    bad("unasked 101 behind 100", "9110 15.2.2", CONTINUE + b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    bad("100 and no more", "9112 8", CONTINUE, closes=True),
    bad("100 with a body", "9110 15.2", b"HTTP/1.1 100 Continue\r\ncontent-length: 4\r\n\r\nrain" + sized()),
]  # fmt: skip

FIELDS = [
    got("connection: close", "9112 9.6", sized(b"connection: close"), reused=False),
    got("connection: Close among others", "9112 9.6", sized(b"connection: x-a, Close", b"x-a: b"), reused=False),
    got("connection: keep-alive", "9112 9.3", sized(b"connection: keep-alive")),
    got("a field that Connection names", "9110 7.6.1", sized(b"connection: x-a", b"x-a: b", b"x-b: c"), x_b="c"),
    got("Content-Type stays though Connection names it", "9110 7.6.1", sized(b"connection: content-type", b"content-type: text/csv"), content_type="text/csv"),
    got("hop-by-hop fields", "9110 7.6.1", sized(b"keep-alive: timeout=5", b"proxy-connection: close", b"upgrade: h2c", b"trailer: x-a", b"te: gzip")),
    got("end-to-end fields", "9110 7.6.1", sized(b"etag: \"a\"", b"cache-control: no-store", b"content-encoding: br", b"server: x"), etag='"a"', cache_control="no-store", content_encoding="br", server="x"),
    got("two cookies stay two, in order", "9110 5.3", sized(b"set-cookie: a=b", b"x-a: c", b"set-cookie: d=e"), set_cookie="a=b|d=e", x_a="c"),
    got("the gateway's own fields", "9110 7.7", sized(b"x-pointsman-arm: candidate", b"x-pointsman-version: 9", b"x-request-id: theirs")),
    got("obs-text in a value", "9110 5.5", sized(b"x-a: J\xfcrgen"), x_a="J\xfcrgen"),
    got("empty value", "9110 5.5", sized(b"x-a:"), x_a=""),
    got("blanks around a value", "9112 5.1", sized(b"x-a: \t b \t"), x_a="b"),
    got("encoded CRLF stays encoded", "9112 11.1", sized(b"location: /%0d%0aset-cookie:%20a=b"), location="/%0d%0aset-cookie:%20a=b"),
    got("as many fields as may be", "6585 5", sized(*(b"x-%d: y" % n for n in range(MAX_FIELDS - 1))), more={f"x-{n}": "y" for n in range(MAX_FIELDS - 1)}),
    bad("one field too many", "6585 5", sized(*(b"x-%d: y" % n for n in range(MAX_FIELDS)))),
    bad("endless head", "6585 5", b"HTTP/1.1 200 OK\r\nx-a: " + b"y" * (MAX_HEAD + 10)),
    bad("obs-fold", "9112 5.2", sized(b"x-a: b", b" c")),
    bad("obs-fold by a tab", "9112 5.2", sized(b"x-a: b", b"\tc")),
    bad("bare LF between fields", "9112 2.2", sized(b"x-a: b\nset-cookie: a=b")),
    bad("bare CR splits a field", "9112 11.1", sized(b"x-a: b\rset-cookie: a=b")),
    bad("bare CR ends a value", "9112 2.2", sized(b"x-a: b\r")),
    bad("NUL in a value", "9110 5.5", sized(b"x-a: \x00")),
    bad("control byte in a value", "9110 5.5", sized(b"x-a: \x07")),
    bad("DEL in a value", "9110 5.5", sized(b"x-a: \x7f")),
    bad("space before the colon", "9112 5.1", sized(b"x-a : b")),
    bad("space in a name", "9112 5.1", sized(b"x a: b")),
    bad("byte over 127 in a name", "9110 5.6.2", sized(b"x-\xe4: b")),
    bad("NUL in a name", "9110 5.6.2", sized(b"x\x00a: b")),
    bad("no colon", "9112 5", sized(b"x-a")),
    bad("empty name", "9112 5", sized(b": b")),
    bad("blank before the first field", "9112 2.2", head(b" x-a: b", b"content-length: 4") + b"rain"),
]  # fmt: skip

CASES = [*FRAMING, *LINES, *INTERIM, *FIELDS]
