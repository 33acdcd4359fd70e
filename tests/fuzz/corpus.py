"""Where fuzzing begins: every case of the conformance tables, and words that heads and chunks are made of.

    python -m tests.fuzz.corpus FOLDER

writes FOLDER/head and FOLDER/chunks with a file a case, and FOLDER/words.dict for libFuzzer's -dict.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tests.conformance.http import request_cases, response_cases
from tests.support.heads import LINES, NEAR_MISSES

LONGEST = 4096
"""Bytes: longer cases are about limits, which mutation does not find."""
WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x7f", b"\x80", b":", b",", b";", b"0",
    b"4", b"-", b"+", b"0x", b"_", b"?", b"#", b'"', b"%0d%0a", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0",
    b"GET ", b"POST ", b"CONNECT ", b"http://a", b"Host: a\r\n", b"Content-Length: ",
    b"Content-Length: 4\r\n", b"Transfer-Encoding: ", b"chunked", b"identity", b"Connection: ", b"close",
    b"keep-alive", b"Expect: 100-continue\r\n", b"X-User-Id: u\r\n", b"X-Request-Id: r\r\n",
    b"X-Forwarded-For: a\r\n", b"X_Forwarded_For: a\r\n", b"X-Pointsman-Arm: candidate\r\n", b"0\r\n\r\n",
    b"4\r\nrain\r\n", b";a=b", b"ffffffffffffffff", b"200 OK", b"204 No Content", b"304 Not Modified",
    b"101 S", b"103 H",
)  # fmt: skip


def heads() -> list[bytes]:
    """Heads of requests and responses, with what is behind them."""
    cases = [case.request for case in request_cases.CASES] + [case.answer for case in response_cases.CASES]
    lines = [b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n" for line in (*LINES, *NEAR_MISSES)]
    return [data for data in (*cases, *lines) if len(data) <= LONGEST]


def chunked() -> list[bytes]:
    """Bodies in chunks, right and wrong."""
    cases = [case.request for case in request_cases.CASES] + [case.answer for case in response_cases.CASES]
    bodies = [
        body for data in cases if b"chunked" in data.lower() for body in [data.partition(b"\r\n\r\n")[2]]
    ]
    return [body for body in dict.fromkeys(bodies) if 0 < len(body) <= LONGEST]


def write(folder: Path) -> None:
    """All of it as files, named after their content."""
    for name, corpus in (("head", heads()), ("chunks", [b"\x03" + body for body in chunked()])):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for data in corpus:
            (folder / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    (folder / "words.dict").write_text("".join(f'"{word}"\n' for word in escaped))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
