"""Canonical JSON: one spelling for one value, so that a digest of the text is a digest of the value.

This is the JSON Canonicalization Scheme (RFC 8785): no blanks, keys in the order of their UTF-16 code units,
the shortest escapes, numbers as ECMAScript writes them. Two things that the scheme leaves to its users are
refused here: whole numbers beyond 2^53, which other readers would round, and numbers that are not finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from json.encoder import JSONEncoder, encode_basestring
from typing import Any

WIDEST = 2**53
"""Whole numbers up to here mean the same to every reader of JSON."""

_MOST_PLAIN_DIGITS = 21
_MOST_LEADING_ZEROS = 6


def encode(value: object) -> bytes:
    """`value` (None, bool, int, float, str, lists, tuples, mappings with text keys) as canonical JSON.

    Raises ValueError for anything else, for numbers that JSON cannot hold, and for lone surrogates.
    """
    return (_fast(value) if _easy(value) else _text(value)).encode()


def digest(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return sha256(encode(value)).hexdigest()


def tame(value: object) -> object:
    """`value` made such that `encode` takes it.

    Lone surrogates become "?", numbers that are not finite null, whole numbers beyond 2^53 and whatever is
    no JSON at all text.
    """
    if value is None or isinstance(value, bool) or _easy(value):
        return value
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, int):
        return int(value) if -WIDEST <= value <= WIDEST else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_unicode(str(key)): tame(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [tame(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(_unicode(str(item)) for item in value)
    return _unicode(str(value))


# Python's own encoder, written in C, spells most values as the scheme does. The others go the slow way.
_fast = JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _easy(value: Any) -> bool:
    """Whether Python and the scheme spell `value` alike: ASCII texts, numbers without exponent."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is dict:
        return all(type(key) is str and key.isascii() and _easy(item) for key, item in value.items())
    if kind is int:
        return bool(-WIDEST <= value <= WIDEST)
    if kind is float:
        return bool(1e-4 <= abs(value) < 1e15 and value % 1 != 0)
    if kind is list or kind is tuple:
        return all(map(_easy, value))
    return value is None or kind is bool


def _unicode(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(value: object) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -WIDEST <= value <= WIDEST:
            raise ValueError(f"{value} is beyond 2^53, where readers of JSON round")
        return str(int(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(_members(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise ValueError(f"a {type(value).__name__} is no JSON value")


def _members(value: Mapping[object, object]) -> list[str]:
    keys: list[str] = []
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} is no text")
        keys.append(key)
    keys.sort(key=None if all(map(str.isascii, keys)) else _utf16)
    return [f"{encode_basestring(key)}:{_text(value[key])}" for key in keys]


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    """As ECMAScript's Number::toString writes it (ECMA-262, 6.1.6.1.20)."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number in JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    _, figures, exponent = Decimal(repr(float(abs(value)))).normalize().as_tuple()
    digits = "".join(map(str, figures))
    count, point = len(digits), len(digits) + int(exponent)
    if count <= point <= _MOST_PLAIN_DIGITS:
        return sign + digits + "0" * (point - count)
    if 0 < point <= _MOST_PLAIN_DIGITS:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -_MOST_LEADING_ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"
