"""Shapes of request heads: what one regular expression reads of a head, where nothing is compiled.

The problem: to look at each line of a head costs Python as much as all else that it does for a request. But
clients send the same fields in the same order again and again, only with other values. Such an order is a
shape. Once it was seen often enough it becomes one pattern, which checks every byte of a head, names and
values alike, and takes out the few values that matter.

The guarantee: a pattern matches nothing that the grammar (`gateway.head`) refuses, and what it reads is what
the grammar reads, to the last byte (`tests/unit/gateway/test_shapes.py`). Whatever is rare, wrong or not
whole matches none, and is left to the grammar. To make a pattern takes about a millisecond, and a client that
sends its fields in a new order each time must not be able to ask for many: beyond the first few they are
rationed by the heads that the grammar had to read itself.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from operator import itemgetter
from typing import Final

from gateway.fields import CONNECTION, DROP, FRESH, HOST, LENGTH, MAX_DIGITS, PASS, REQUEST_ID, VIA, WANTED
from gateway.message import NO_LENGTH, RequestMessage

MOST: Final = 8
"""Shapes known at a time; beyond it the one that was met longest ago is forgotten."""
STUDY_ONE_IN: Final = 8
"""Of so many heads that match no shape one is studied."""
SEEN_BEFORE: Final = 2
"""So often must an order have been studied before it becomes a shape."""
STUDIED: Final = 64
"""Orders whose studies are counted; beyond it the counting begins anew."""
UNRATIONED: Final = 8
"""Patterns made as they are wanted; each further one for so many heads that match no shape: RATION."""
RATION: Final = 2048
LONGEST_STUDIED: Final = 4096
"""Bytes of a head that is studied."""
_MAX_HEAD: Final = 64 * 1024 + 4
"""As gateway.head has it, with the blank line."""

_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_BLANK: Final = rb"[ \t]*+"
_TAKEN: Final = {
    HOST: b"(%b)" % _VALUE,
    LENGTH: rb"([0-9]{1,%d}+)" % MAX_DIGITS + _BLANK,
    REQUEST_ID: rb"([0-9A-Za-z._~:\-]{1,128}+)" + _BLANK,
    WANTED: b"(%b)" % _VALUE,
}
"""How a value is written that is taken out."""
_PASSING: Final = frozenset((PASS, FRESH, VIA, WANTED))
_ONCE: Final = frozenset((HOST, LENGTH, REQUEST_ID, CONNECTION))
_KNOWN: Final = _PASSING | _ONCE | {DROP}

RequestLines = Mapping[bytes, tuple[bytes, bytes, bytes, int]]
"""By the bytes of a request line: method, target, path and the minor version."""


class Shape:
    """One order of fields. What is said of groups are places in the tuple of a match's groups, or -1.

    Attributes:
        names: with their colons, in order.
        match: matches whole heads. The first group is the request line.
        only: the bytes that pass on, where they are one run, or none.
        runs: takes the bytes that pass on out of the groups, where they are several runs.
        wanted: lower-case name and group of each field whose value routing reads.
    """

    __slots__ = ("host", "length", "match", "names", "only", "request_id", "runs", "via", "wanted")

    def __init__(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """`lines`: kind and name (with its colon, as it is written) of each field; see `has_shape`."""
        self.names = tuple(name for _, name in lines)
        pattern = [rb"([^\r\n]*+)"]
        groups = 1
        runs: list[int] = []
        taken: dict[int, int] = {}
        wanted: list[tuple[bytes, int]] = []
        passing = False
        for kind, name in lines:
            if (kind in _PASSING) is not passing:
                passing = not passing
                pattern.append(b"(" if passing else b")")
                if passing:
                    runs.append(groups)
                    groups += 1
            pattern.append(rb"\r\n" + re.escape(name))
            value = _TAKEN.get(kind)
            if value is None:
                pattern.append(_VALUE if kind != CONNECTION else _BLANK + b"keep-alive" + _BLANK)
                continue
            pattern.append(_BLANK + value)
            if kind == WANTED:
                wanted.append((name[:-1].lower(), groups))
            taken[kind] = groups
            groups += 1
        pattern.append(b")" if passing else b"")
        pattern.append(rb"\r\n\r\n")
        self.match = re.compile(b"".join(pattern)).match
        self.host = taken[HOST]
        self.length = taken.get(LENGTH, -1)
        self.request_id = taken.get(REQUEST_ID, -1)
        self.only = runs[0] if len(runs) == 1 else -1
        self.runs = itemgetter(*runs) if len(runs) > 1 else None
        self.via = any(kind == VIA for kind, _ in lines)
        self.wanted = tuple(wanted)


def has_shape(lines: Sequence[tuple[int, bytes]]) -> bool:
    """Whether a pattern can tell all that these fields mean: no coding, no expectation, one Host."""
    kinds = [kind for kind, _ in lines]
    wanted = [name.lower() for kind, name in lines if kind == WANTED]
    return (
        kinds.count(HOST) == 1
        and all(kind in _KNOWN for kind in kinds)
        and all(kinds.count(kind) <= 1 for kind in _ONCE)
        and len(set(wanted)) == len(wanted)
    )


class Shapes:
    """The shapes of late, most recently met first.

    `lines` and `hosts` are what the grammar has accepted before; it goes on filling them.
    """

    __slots__ = ("_hosts", "_known", "_lines", "_made", "_made_at", "_missed", "_studied")

    def __init__(self, lines: RequestLines, hosts: Container[bytes]) -> None:
        self._lines = lines
        self._hosts = hosts
        self._known: list[Shape] = []
        self._studied: dict[tuple[bytes, ...], int] = {}
        self._missed = 0
        self._made = 0
        self._made_at = 0

    def __len__(self) -> int:
        return len(self._known)

    def read(self, data: bytes) -> RequestMessage | None:
        """The request whose head starts `data`; None where only the grammar can tell."""
        known = self._known
        for shape in known:
            match = shape.match(data)
            if match is not None:
                break
        else:
            return None
        groups = match.groups()
        line = self._lines.get(groups[0])
        end = match.end()
        if line is None or groups[shape.host] not in self._hosts or end > _MAX_HEAD:
            return None
        message = RequestMessage()
        message.method, message.target, message.path, minor = line
        if not minor:
            return None
        if shape is not known[0]:
            known.remove(shape)
            known.insert(0, shape)
        message.minor = 1
        message.keep_alive = True
        runs = shape.runs
        if runs is not None:
            message.fields = b"".join(runs(groups))
        else:
            message.fields = b"" if shape.only < 0 else groups[shape.only]
        place = shape.length
        message.content_length = length = NO_LENGTH if place < 0 else int(groups[place])
        message.end = end
        message.whole_at = end + length if length > 0 else end
        place = shape.request_id
        message.request_id = b"" if place < 0 else groups[place]
        if shape.wanted:
            message.values = {name: groups[place].rstrip(b" \t") for name, place in shape.wanted}
        if shape.via:
            message.via = True
        return message

    def missed(self, head: bytes, kinds: Mapping[bytes, int]) -> None:
        """The grammar has read `head` (without its blank line), for no shape has; `kinds` as FieldNames."""
        self._missed += 1
        if self._missed % STUDY_ONE_IN or len(head) > LONGEST_STUDIED:
            return
        names = tuple([line[: line.find(b":") + 1] for line in head.split(b"\r\n")[1:]])
        lines = [(kinds.get(name, -1), name) for name in names]
        if not has_shape(lines):
            return
        if len(self._studied) >= STUDIED:
            self._studied.clear()
        studies = self._studied.get(names, 0)
        self._studied[names] = studies + 1
        if studies >= SEEN_BEFORE and self._may_make(names):
            self._made += 1
            self._made_at = self._missed
            self._known.insert(0, Shape(lines))
            del self._known[MOST:]

    def _may_make(self, names: tuple[bytes, ...]) -> bool:
        if self._made >= UNRATIONED and self._missed - self._made_at < RATION:
            return False
        # It may be known and match all the same not: a query, an older version, a connection to close.
        return all(shape.names != names for shape in self._known)
