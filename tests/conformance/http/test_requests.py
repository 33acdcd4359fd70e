"""What a request may look like, what it becomes, and what is refused: RFC 9110 and RFC 9112, case by case.

Every case is fed whole, byte by byte, and pipelined behind a good request, against a recording upstream.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import PATH, endpoint, gateway, post
from tests.support.upstream import ScriptedUpstream, response, saying

TARGET = PATH.encode()


@dataclass(frozen=True)
class Case:
    """`status` 0: the gateway just closes. `forwarded`: how many requests the model server sees."""

    name: str
    section: str
    request: bytes
    status: int
    closes: bool
    forwarded: int = 0


def _post(fields: bytes, body: bytes = b"", line: bytes = b"POST " + TARGET + b" HTTP/1.1") -> bytes:
    return line + b"\r\n" + fields + b"\r\n\r\n" + body


HOST = b"Host: models\r\n"

CASES = [
    # accepted
    Case("content-length", "9112 6.2", _post(HOST + b"Content-Length: 4", b"rain"), 200, False, 1),
    Case("no body", "9112 6.3", _post(b"Host: models"), 200, False, 1),
    Case("zero length", "9112 6.2", _post(HOST + b"Content-Length: 0"), 200, False, 1),
    Case("chunked", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"4\r\nrain\r\n0\r\n\r\n"), 200, False, 1),
    Case("chunked, two chunks", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"2\r\nra\r\n2\r\nin\r\n0\r\n\r\n"), 200, False, 1),
    Case("chunk extension", "9112 7.1.1", _post(HOST + b"Transfer-Encoding: chunked", b"4;a=b\r\nrain\r\n0\r\n\r\n"), 200, False, 1),
    Case("trailer", "9112 7.1.2", _post(HOST + b"Transfer-Encoding: chunked", b"4\r\nrain\r\n0\r\nX-T: 1\r\n\r\n"), 200, False, 1),
    Case("coding name in capitals", "9112 7", _post(HOST + b"Transfer-Encoding: CHUNKED", b"0\r\n\r\n"), 200, False, 1),
    Case("leading CRLF", "9112 2.2", b"\r\n" + _post(HOST + b"Content-Length: 0"), 200, False, 1),
    Case("tabs around a value", "9112 5.1", _post(b"Host:\tmodels\t"), 200, False, 1),
    Case("empty value", "9112 5.1", _post(HOST + b"X-Empty:"), 200, False, 1),
    Case("obs-text in a value", "9110 5.5", _post(HOST + b"X-Name: J\xfcrgen"), 200, False, 1),
    Case("query", "9112 3.2.1", _post(HOST, line=b"POST " + TARGET + b"?a=1 HTTP/1.1").replace(b"\r\n\r\n\r\n", b"\r\n\r\n"), 200, False, 1),
    Case("absolute-form", "9112 3.2.2", _post(b"Host: models", line=b"POST http://models" + TARGET + b" HTTP/1.1"), 200, False, 1),
    Case("GET", "9110 9.3.1", _post(b"Host: models", line=b"GET " + TARGET + b" HTTP/1.1"), 200, False, 1),
    Case("connection: close", "9112 9.6", _post(HOST + b"Connection: close"), 200, True, 1),
    Case("connection: Close, x", "9112 9.6", _post(HOST + b"Connection: x-a, Close"), 200, True, 1),
    Case("HTTP/1.0", "9112 9.3", _post(b"Host: models", line=b"POST " + TARGET + b" HTTP/1.0"), 200, True, 1),
    Case("HTTP/1.0 without Host", "9112 3.2", _post(b"X-A: b", line=b"POST " + TARGET + b" HTTP/1.0"), 200, True, 1),
    Case("HTTP/1.0 keep-alive", "9112 C.2.2", _post(HOST + b"Connection: keep-alive", line=b"POST " + TARGET + b" HTTP/1.0"), 200, False, 1),
    Case("host with port", "9110 7.2", _post(b"Host: models:8080"), 200, False, 1),
    Case("host is an IPv6 literal", "9110 7.2", _post(b"Host: [::1]:8080"), 200, False, 1),
    # turned away, connection kept
    Case("unknown path", "9110 15.5.5", b"GET /nowhere HTTP/1.1\r\nHost: models\r\n\r\n", 404, False),
    Case("unknown path with its body", "9110 15.5.5", b"POST /nowhere HTTP/1.1\r\nHost: models\r\nContent-Length: 4\r\n\r\nrain", 404, False),
    Case("method", "9110 15.5.6", b"DELETE " + TARGET + b" HTTP/1.1\r\nHost: models\r\n\r\n", 405, False),
    Case("TRACE", "9110 9.3.8", b"TRACE " + TARGET + b" HTTP/1.1\r\nHost: models\r\n\r\n", 405, False),
    Case("asterisk-form", "9112 3.2.4", b"OPTIONS * HTTP/1.1\r\nHost: models\r\n\r\n", 404, False),
    Case("CONNECT", "9110 9.3.6", b"CONNECT models:443 HTTP/1.1\r\nHost: models:443\r\n\r\n", 404, False),
    # refused, connection closed
    Case("length and chunked", "9112 6.1", _post(HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"), 400, True),
    Case("chunked and length", "9112 6.1", _post(HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4", b"0\r\n\r\n"), 400, True),
    Case("two lengths that differ", "9112 6.3", _post(HOST + b"Content-Length: 4\r\nContent-Length: 5", b"rain"), 400, True),
    Case("two lengths that agree", "9112 6.3", _post(HOST + b"Content-Length: 4\r\nContent-Length: 4", b"rain"), 400, True),
    Case("list of lengths", "9112 6.3", _post(HOST + b"Content-Length: 4, 4", b"rain"), 400, True),
    Case("signed length", "9110 8.6", _post(HOST + b"Content-Length: +4", b"rain"), 400, True),
    Case("negative length", "9110 8.6", _post(HOST + b"Content-Length: -4"), 400, True),
    Case("hexadecimal length", "9110 8.6", _post(HOST + b"Content-Length: 0x4", b"rain"), 400, True),
    Case("overflowing length", "9110 8.6", _post(HOST + b"Content-Length: 99999999999999999999"), 400, True),
    Case("empty length", "9110 8.6", _post(HOST + b"Content-Length:"), 400, True),
    Case("length with a space inside", "9110 8.6", _post(HOST + b"Content-Length: 4 4"), 400, True),
    Case("body over the limit", "9110 15.5.14", _post(HOST + b"Content-Length: 5000"), 413, True),
    Case("coding other than chunked", "9112 6.1", _post(HOST + b"Transfer-Encoding: gzip"), 501, True),
    Case("two codings", "9112 6.1", _post(HOST + b"Transfer-Encoding: gzip, chunked"), 501, True),
    Case("identity coding", "9112 6.1", _post(HOST + b"Transfer-Encoding: identity"), 501, True),
    Case("chunked twice", "9112 6.1", _post(HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, True),
    Case("xchunked", "9112 6.1", _post(HOST + b"Transfer-Encoding: xchunked"), 501, True),
    Case("chunked in HTTP/1.0", "9112 6.1", _post(HOST + b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"POST " + TARGET + b" HTTP/1.0"), 400, True),
    Case("obs-fold", "9112 5.2", _post(HOST + b"X-A: b\r\n c"), 400, True),
    Case("bare LF in the head", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\nHost: models\r\n\r\n", 400, True),
    Case("bare LF ends the head", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\r\nHost: models\n\n", 400, True),
    Case("bare CR in a value", "9112 2.2", _post(HOST + b"X-A: b\rc"), 400, True),
    Case("NUL in a value", "9110 5.5", _post(HOST + b"X-A: b\x00c"), 400, True),
    Case("control byte in a value", "9110 5.5", _post(HOST + b"X-A: b\x07c"), 400, True),
    Case("DEL in a value", "9110 5.5", _post(HOST + b"X-A: b\x7fc"), 400, True),
    Case("space before the colon", "9112 5.1", _post(HOST + b"X-A : b"), 400, True),
    Case("space in a name", "9112 5.1", _post(HOST + b"X A: b"), 400, True),
    Case("no colon", "9112 5", _post(HOST + b"X-A"), 400, True),
    Case("empty name", "9112 5", _post(HOST + b": b"), 400, True),
    Case("first field folded", "9112 2.2", b"POST " + TARGET + b" HTTP/1.1\r\n Host: models\r\n\r\n", 400, True),
    Case("no Host", "9112 3.2", _post(b"X-A: b"), 400, True),
    Case("two Hosts", "9112 3.2", _post(HOST + b"Host: other"), 400, True),
    Case("Host with a space", "9112 3.2", _post(b"Host: mod els"), 400, True),
    Case("Host with a path", "9112 3.2", _post(b"Host: models/x"), 400, True),
    Case("Host with userinfo", "9112 3.2", _post(b"Host: a@models"), 400, True),
    Case("two spaces in the request line", "9112 3", b"POST  " + TARGET + b" HTTP/1.1\r\nHost: m\r\n\r\n", 400, True),
    Case("trailing space in the request line", "9112 3", b"POST " + TARGET + b" HTTP/1.1 \r\nHost: m\r\n\r\n", 400, True),
    Case("HTTP/0.9", "9112 3", b"GET " + TARGET + b"\r\n", 400, True),
    Case("HTTP/2.0", "9110 2.5", b"POST " + TARGET + b" HTTP/2.0\r\nHost: m\r\n\r\n", 505, True),
    Case("HTTP/1.10", "9112 2.3", b"POST " + TARGET + b" HTTP/1.10\r\nHost: m\r\n\r\n", 400, True),
    Case("http/1.1 in small letters", "9112 2.3", b"POST " + TARGET + b" http/1.1\r\nHost: m\r\n\r\n", 400, True),
    Case("TLS hello", "9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n", 400, True),
    Case("target without a slash", "9112 3.2", b"GET nowhere HTTP/1.1\r\nHost: m\r\n\r\n", 400, True),
    Case("fragment in the target", "9112 3.2", b"GET /a#b HTTP/1.1\r\nHost: m\r\n\r\n", 400, True),
    Case("control byte in the target", "9112 3.2", b"GET /a\x01 HTTP/1.1\r\nHost: m\r\n\r\n", 400, True),
    Case("unknown expectation", "9110 10.1.1", _post(HOST + b"Expect: magic"), 417, True),
    Case("chunk size not hexadecimal", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"zz\r\nrain\r\n"), 400, True),
    Case("signed chunk size", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"+4\r\nrain\r\n0\r\n\r\n"), 400, True),
    Case("0x chunk size", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"0x4\r\nrain\r\n0\r\n\r\n"), 400, True),
    Case("overflowing chunk size", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"fffffffffffffffff\r\n"), 400, True),
    Case("chunk longer than its size", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"3\r\nrain\r\n0\r\n\r\n"), 400, True),
    Case("chunk line ends with LF", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b"4\nrain\r\n0\r\n\r\n"), 400, True),
    Case("space before a chunk size", "9112 7.1", _post(HOST + b"Transfer-Encoding: chunked", b" 4\r\nrain\r\n0\r\n\r\n"), 400, True),
    Case("malformed trailer", "9112 7.1.2", _post(HOST + b"Transfer-Encoding: chunked", b"0\r\nbad trailer\r\n\r\n"), 400, True),
    Case("chunked body over the limit", "9110 15.5.14", _post(HOST + b"Transfer-Encoding: chunked", b"1388\r\n" + b"x" * 5000 + b"\r\n"), 413, True),
    Case("too many fields", "6585 5", _post(HOST + b"\r\n".join(b"X-%d: y" % n for n in range(101))), 431, True),
    Case("head too long", "6585 5", _post(HOST + b"X-A: " + b"y" * 70000), 431, True),
    Case("request line too long", "9110 15.5.15", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: m\r\n\r\n", 414, True),
]  # fmt: skip


def _names(case: Case) -> str:
    return case.name


async def _exchange(folder: Path, case: Case, size: int, *, pipelined: bool) -> None:
    async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
        async with gateway(folder, endpoint(upstream.port, max_body=4096)) as running:
            client = await running.connect()
            data = post(b"first") + case.request if pipelined else case.request
            client.feed(data, size=size or len(data))
            if pipelined:
                assert (await client.response()).status == 200
            answer = await client.response()
            assert answer.status == case.status
            assert (answer.fields.get("connection") == "close") == case.closes
            if case.closes:
                assert await client.reader.read() == b"", "nothing follows the last answer"
            else:
                client.writer.write(post(b"after"))
                assert (await client.response()).status == 200
            client.close()
        extra = int(pipelined) + int(not case.closes)
        assert len(upstream.heard) == case.forwarded + extra
        if case.status >= 400:
            assert answer.fields["content-type"] == "application/problem+json"


@pytest.mark.parametrize("case", CASES, ids=_names)
@pytest.mark.parametrize("feeding", ["whole", "bytes", "pipelined"])
def test_each_case_has_its_status_and_its_connection_its_fate(
    case: Case, feeding: str, tmp_path: Path
) -> None:
    size = 1 if feeding == "bytes" else 0
    if feeding == "bytes" and len(case.request) > 20_000:
        size = 997
    asyncio.run(_exchange(tmp_path, case, size, pipelined=feeding == "pipelined"))
