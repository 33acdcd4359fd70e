"""Where two predictions differ, value by value. Pure.

Both are walked at once, as the comparison of documents walks them; two texts are held against each other by
words. Everything is bounded: what a model writes decides neither time nor size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from rapidfuzz.distance import Indel

MOST = 50
"""Differences that are listed."""

MOST_LOOKED_AT = 20_000
DEEPEST = 64
LONGEST = 2000
"""Characters of a text that are shown."""

MOST_WORDS = 400
"""Words of a text that are held against another's, for the time that takes."""

_WORDS = re.compile(r"\s+|\S+")


def differences(incumbent: object, candidate: object) -> list[dict[str, object]]:
    """The values that differ, each with its JSON pointer; a side that has none there lacks the key.

    For two texts `text` tells them apart: `[["=", "same"], ["-", "only the incumbent"], ["+", "…"]]`.
    """
    found: list[dict[str, object]] = []
    for path, pair in _walk(incumbent, candidate):
        if len(found) == MOST:
            found.append({"path": "…"})
            break
        found.append(_shown(path, *pair))
    return found


_NOTHING = object()
"""Stands for what is not there."""


def _walk(incumbent: object, candidate: object) -> Iterator[tuple[str, tuple[object, object]]]:
    waiting: list[tuple[str, int, object, object]] = [("", 0, incumbent, candidate)]
    looked_at = 0
    while waiting:
        path, depth, left, right = waiting.pop()
        looked_at += 1
        if looked_at > MOST_LOOKED_AT:
            return
        if left is right or (type(left) is type(right) and depth >= DEEPEST):
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            keys = [*left, *(key for key in right if key not in left)]
            members = [(str(key), left.get(key, _NOTHING), right.get(key, _NOTHING)) for key in keys]
        elif isinstance(left, list) and isinstance(right, list):
            both = enumerate(zip_longest(left, right, fillvalue=_NOTHING))
            members = [(str(at), one, other) for at, (one, other) in both]
        else:
            if not _equal(left, right):
                yield path, (left, right)
            continue
        waiting += [
            (f"{path}/{_escaped(name)}", depth + 1, one, other) for name, one, other in reversed(members)
        ]


def _equal(left: object, right: object) -> bool:
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return left == right or (left != left and right != right)


def _shown(path: str, left: object, right: object) -> dict[str, object]:
    found: dict[str, object] = {"path": path}
    if left is not _NOTHING:
        found["incumbent"] = _cut(left)
    if right is not _NOTHING:
        found["candidate"] = _cut(right)
    if isinstance(left, str) and isinstance(right, str) and (" " in left or " " in right):
        found["text"] = _by_words(left, right)
    return found


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}…"
    return value


def _by_words(left: str, right: str) -> list[list[str]]:
    one, other = (_WORDS.findall(text[: 10 * LONGEST])[: 2 * MOST_WORDS] for text in (left, right))
    found: list[list[str]] = []
    gone, new = "", ""
    for step in Indel.opcodes(one, other):
        if step.tag == "equal":
            found += _replaced(gone, new)
            found.append(["=", "".join(one[step.src_start : step.src_end])])
            gone, new = "", ""
        elif step.tag == "delete":
            gone += "".join(one[step.src_start : step.src_end])
        else:
            new += "".join(other[step.dest_start : step.dest_end])
    return found + _replaced(gone, new)


def _replaced(gone: str, new: str) -> list[list[str]]:
    return [[kind, words] for kind, words in (("-", gone), ("+", new)) if words]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
