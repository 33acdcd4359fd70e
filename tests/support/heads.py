"""Heads of requests and responses: right ones, and ones that are wrong by a byte, a line or a word."""

from __future__ import annotations

from random import Random

METHODS = (b"GET", b"POST", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT")
ODD_METHODS = (b"get", b"FETCH", b"M-SEARCH", b"!", b"", b"P\x00ST", b"PO ST")
TARGETS = (
    b"/", b"/v2/models/rain/infer", b"/a?b=c", b"/?", b"//a//b", b"/a%20b", b"/a;b=c?d=/e?f", b"*",
    b"http://models/a", b"HTTP://models:80", b"https://models?x=1", b"http://[::1]:80/a?b",
    b"/v2/models/rain/infer?" + b"q" * 300, b"/\"<>\\^`{|}",
)  # fmt: skip
ODD_TARGETS = (
    b"", b"a", b"/a#b", b"/\xff", b"/a b", b"http://", b"http:///a", b"ftp://a/b", b"a:443", b"http://a@b/",
)  # fmt: skip
VERSIONS = (b"HTTP/1.1",) * 8 + (b"HTTP/1.0",) * 2
ODD_VERSIONS = (
    b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"HTTP/1", b"HTTP/0.9", b"", b"HTTP/1.1 ",
)  # fmt: skip
LINES = (
    b"Host: models", b"host:a:80", b"HOST: [::1]:8080", b"Content-Length: 4", b"content-length:0",
    b"Content-Length: 0012", b"Transfer-Encoding: chunked", b"TRANSFER-encoding:\tCHUNKED \t",
    b"Connection: close", b"Connection: keep-alive", b"connection: Keep-Alive, X-Gone",
    b"Connection: x-gone ,close", b"Connection: close, keep-alive", b"Connection:", b"Connection: , ,",
    b"Connection: x-keep-alive", b"Connection: keep-alive, x-closed", b"Connection: content-type",
    b"X-Gone: 1", b"x-gone:2", b"Keep-Alive: 5", b"Proxy-Connection: close", b"TE: trailers",
    b"Trailer: X-T", b"Expect: 100-continue", b"expect:100-Continue", b"X-Request-Id: r-1",
    b"X-Request-Id: not one", b"X-User-Id: u1", b"x-user-id: U2", b"X-User-Id:",
    b"X-Pointsman-Arm: candidate", b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=a", b"X-Real-IP: a",
    b"X-Envoy-A: b", b"Accept: */*", b"Accept: */*", b"Content-Type: application/json", b"X-Empty:",
    b"X-Blank: \t ", b"X-Name: J\xfcrgen", b"X-Tab: a\tb", b"!#$%&'*+-.^_`|~: token",
    b"Cookie: a=b; c=\"d\"", b"X-Long: " + b"y" * 300, b"Date: now",
)  # fmt: skip
NEAR_MISSES = (
    b"Host", b"Host :", b"Host : models", b" Host: models", b"Hostx: models", b"Hos: t", b":", b": models",
    b"Host\t: a", b"Host: a b", b"Host: a/b", b"Host: a@b", b"Content-Length : 4", b"Content-Length",
    b"Content-Length: +4", b"Content-Length: 4, 4", b"Content-Length: 4 4", b"Content-Length:",
    b"Content-Length: 0x4", b"Content_Length: 9", b"Content-Length: 9999999999999999",
    b"Content-Length: \xb2", b"Content-Length: 4\x0b", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:", b"Transfer\xadEncoding: chunked", b"Connection : close",
    b"Connection: close\x00", b"Expect: magic", b"X-A: b\rc", b"X-A: b\nHost: evil", b"X-A: b\x00c",
    b"X-A: \x7f", b"X-A", b"X A: b", b"X-\xe4: b", b"\tfolded", b" folded: b", b"X-A: b\r", b"\rX-A: b",
    b"X-A\x00: b",
)  # fmt: skip
BYTES = b"\r\n\t :;,/-\x00\x0b\x0c\x7f\x80\xffAaHh09x="
STATUSES = (
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 503 J\xfcrgen\t!", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 204 No Content",
)  # fmt: skip
ODD_STATUSES = (
    b"HTTP/1.1 20 OK", b"HTTP/1.1 600 OK", b"HTTP/1.1 099 OK", b"HTTP/2.0 200 OK", b"HTTP/1.1  200 OK",
    b"HTTP/1.1 2000", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200\tOK",
    b"HTTP/1.1", b"",
)  # fmt: skip


def request_head(random: Random) -> bytes:
    """The bytes before a blank line: valid about half of the time."""
    method = random.choice(METHODS if random.random() < 0.97 else ODD_METHODS)
    target = random.choice(TARGETS if random.random() < 0.95 else ODD_TARGETS)
    version = random.choice(VERSIONS if random.random() < 0.96 else ODD_VERSIONS)
    fields = _fields(random)
    if random.random() < 0.9:
        fields = [line for line in fields if not line.lower().startswith(b"host:")]
        fields.insert(random.randint(0, len(fields)), random.choice(LINES[:3]))
    return _cut(_mutated(random, b"\r\n".join((b"%b %b %b" % (method, target, version), *fields))))


def response_head(random: Random) -> bytes:
    """The bytes before a blank line: valid about half of the time."""
    status = random.choice(STATUSES if random.random() < 0.93 else ODD_STATUSES)
    return _cut(_mutated(random, b"\r\n".join((status, *_fields(random)))))


def field_lines(fields: bytes) -> list[tuple[bytes, bytes]]:
    """(lower-case name, value) of lines that each have a leading CRLF."""
    lines = fields.split(b"\r\n")
    assert lines[0] == b"", "the first line has its CRLF"
    parts = [line.partition(b":") for line in lines[1:]]
    assert all(colon for _, colon, _ in parts)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in parts]


def _fields(random: Random) -> list[bytes]:
    chosen = [random.choice(LINES) for _ in range(random.randint(0, 6))]
    if random.random() < 0.2:
        chosen.append(random.choice(NEAR_MISSES))
    if random.random() < 0.3:
        chosen.append(b"X-%d: %d" % (random.randint(0, 5000), random.randint(0, 5000)))
    random.shuffle(chosen)
    return [_recased(random, line) for line in chosen]


def _recased(random: Random, line: bytes) -> bytes:
    if random.random() > 0.1:
        return line
    name, colon, value = line.partition(b":")
    return random.choice((name.upper(), name.lower(), name.swapcase())) + colon + value


def _mutated(random: Random, head: bytes) -> bytes:
    if random.random() < 0.7:
        return head
    for _ in range(random.randint(1, 2)):
        at = random.randint(0, len(head))
        byte = bytes((random.choice(BYTES),))
        change = random.randint(0, 3)
        if change == 0:
            head = head[:at] + byte + head[at:]
        elif change == 1:
            head = head[:at] + head[at + 1 :]
        elif change == 2:
            head = head[:at] + byte + head[at + 1 :]
        else:
            head = head[:at] + head[at : at + 8] + head[at:]
    return head


def _cut(head: bytes) -> bytes:
    """What the gateway takes for the head: leading blank lines skipped, up to the first blank line."""
    while head.startswith(b"\r\n"):
        head = head[2:]
    return head.split(b"\r\n\r\n")[0]
