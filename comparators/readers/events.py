"""A stream of server-sent events as a stored body: the data of each event.

Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream". Lines end with CR LF, LF or CR; an empty
line ends an event; the data lines of one event are joined; comments and other fields say nothing here. One
byte order mark at the start is allowed, and dropped. What stands behind the last empty line is an event too,
because servers leave the last line end out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from comparators.prediction import Unreadable
from comparators.readers.document import MAX_BODY

MAX_EVENTS = 100_000
"""In one body. A long answer has one a token."""

_MAX_LINES = 5 * MAX_EVENTS

_LINE_END = re.compile(rb"\r\n|\n|\r")


def event_data(body: bytes) -> Iterator[bytes]:
    """The data of every event that has some, in order. Raises Unreadable."""
    if len(body) > MAX_BODY:
        raise Unreadable(f"the answer has {len(body)} bytes; up to {MAX_BODY} are compared")
    if body.count(b"\n") + body.count(b"\r") > _MAX_LINES:
        raise Unreadable(f"the stream has more than {_MAX_LINES} lines")
    events = 0
    data: list[bytes] = []
    for line in _lines(body.removeprefix(b"\xef\xbb\xbf")):
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            data.append(b"")
        elif not line and data:
            events += 1
            if events > MAX_EVENTS:
                raise Unreadable(f"the stream has more than {MAX_EVENTS} events")
            yield data[0] if len(data) == 1 else b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


def _lines(body: bytes) -> Iterator[bytes]:
    at = 0
    for end in _LINE_END.finditer(body):
        yield body[at : end.start()]
        at = end.end()
    yield body[at:]
