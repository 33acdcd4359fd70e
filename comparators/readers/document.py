"""From bytes to a JSON document, whoever sent the bytes.

A candidate is on trial, so its answer may be anything: a document of a hundred megabytes, a hundred
thousand brackets, NaN literals (Python's `json` and several model servers write them; RFC 8259 has none),
keys that occur twice, of which every parser picks another. Guarantee: `decode` returns a document that all
parsers agree upon, at most 64 levels deep, or raises `Unreadable`; time and memory are bounded by the caps
below; it raises nothing else.

orjson does the work. It refuses NaN and Infinity, so a document that it refuses and that has such a word in
it is read again by `json`. Neither of them notices repeated keys; but a document without any has exactly
one colon a key outside its strings, so the colons are counted, and only a document that has more of them
than keys is read with a hook that looks at each key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import cast

import orjson

from comparators.prediction import Unreadable
from comparators.wording import quoted

MAX_BODY = 8 * 1024 * 1024
"""Bytes. A longer answer is not compared (it is still served whole)."""

MAX_DEPTH = 64
"""Arrays and objects inside each other."""

MAX_PARTS = 250_000
"""Commas and opening brackets in one answer, which bound its values: `1,` is two bytes on the wire and some
200 bytes and 500 ns to us, so without this bound 8 MiB would take a gigabyte and seconds."""

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LARGEST_INTEGER = 2**64 - 1
_SMALLEST_INTEGER = -(2**63)


def decode(body: bytes) -> object:
    """The JSON document in `body`: dict, list, str, int (64 bits at most), float, bool or None.

    NaN, Infinity and -Infinity are accepted as numbers. Raises Unreadable.
    """
    if len(body) > MAX_PARTS:
        _check_bounds(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _decode_leniently(body, error)
    colons = body.count(b":")
    if colons + body.count(b"[") < MAX_DEPTH and (  # every level but the last takes one of them
        colons == (_keys(document) if type(document) is dict else 0)
    ):
        return document  # not deep, and no key got lost: the usual answer needs no closer look
    keys, depth = _measure(document)
    if depth > MAX_DEPTH:
        raise Unreadable(f"the answer is nested {depth} levels deep; {MAX_DEPTH} are compared")
    if keys != colons:
        _decode_carefully(body.decode())
    return document


def _check_bounds(body: bytes) -> None:
    size = len(body)
    if size > MAX_BODY:
        raise Unreadable(f"the answer has {size} bytes; up to {MAX_BODY} are compared")
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_PARTS:
        raise Unreadable(f"the answer has more than {MAX_PARTS} values")


def _decode_leniently(body: bytes, refusal: orjson.JSONDecodeError) -> object:
    """Read what orjson refused, if NaN or Infinity may have been the only reason; else say why not."""
    if not body.strip():
        raise Unreadable("the answer is empty") from None
    if body.startswith(_BYTE_ORDER_MARKS):
        raise Unreadable("the answer begins with a byte order mark; JSON is plain UTF-8") from None
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"the answer is not UTF-8 at byte {error.start}") from None
    if "NaN" not in text and "Infinity" not in text:
        raise Unreadable(f"the answer is not JSON: {refusal.msg} at character {refusal.pos}") from None
    document = _decode_carefully(text)
    _, depth = _measure(document)
    if depth <= MAX_DEPTH:
        _refuse_lone_surrogates(document)
    return document


def _decode_carefully(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_float=_real, parse_int=_integer)
    except RecursionError:
        raise Unreadable(f"the answer is nested too deeply; {MAX_DEPTH} levels are compared") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"the answer is not JSON: {error.msg} at character {error.pos}") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Unreadable(f"the key {quoted(key)} occurs twice in one object")
            seen.add(key)
    return unique


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Unreadable(f"the number {quoted(text)} is beyond 64-bit floats")
    return value


def _integer(text: str) -> int | float:
    if len(text) <= 20:
        value = int(text)
        if _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            return value
    return _real(text)  # what orjson does


def _refuse_lone_surrogates(document: object) -> None:
    try:
        orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise Unreadable("the answer has a lone surrogate in a string") from None


def _keys(document: dict[str, object]) -> int:
    """How many keys it has, with those of the objects in its arrays and theirs: all of a usual answer."""
    keys = len(document)
    for member in document.values():
        if type(member) is list:
            for inner in member:
                if type(inner) is not dict:
                    break
                keys += len(inner)
                for innermost in inner.values():
                    if type(innermost) is dict:
                        keys += len(innermost)
        elif type(member) is dict:
            keys += len(member)
    return keys


def _measure(document: object) -> tuple[int, int]:
    """How many keys all objects have, and how many levels deep the containers are."""
    keys = depth = 0
    level: list[object] = [document] if type(document) in _CONTAINERS else []
    while level:
        depth += 1
        inner: list[object] = []
        for container in level:
            members: Collection[object]
            if type(container) is dict:
                keys += len(container)
                members = container.values()
            else:
                members = cast("list[object]", container)
            if not _CONTAINERS.isdisjoint(map(type, members)):
                inner += [member for member in members if type(member) in _CONTAINERS]
        level = inner
    return keys, depth


_CONTAINERS = frozenset((dict, list))
