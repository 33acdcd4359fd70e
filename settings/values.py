"""Readers of single values: each takes what stood in the document and answers it in its type and unit.

A reader raises a ValueError whose text says what is allowed, bounds included; `settings.reader` adds the key
and the value. The functions with arguments make readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from settings import units

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110 section 7.6.1: fields that belong to one connection, so that they say nothing about a unit."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 section 5.6.2
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")  # RFC 6901 section 3
_PATH = re.compile(r"/(?:(?![?#\\\"<>])[!-~])*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LONGEST_PATH = 1024


def text(longest: int = 200) -> Callable[[object], str]:
    """Text of 1 to `longest` printable characters that does not start or end with a blank."""

    def read(value: object) -> str:
        if isinstance(value, str) and 1 <= len(value) <= longest and _is_clean(value):
            return value
        hint = "" if isinstance(value, str) else "; put it in quotes if it looks like a number"
        raise ValueError(f"write a text of 1 to {longest} printable characters{hint}")

    return read


def choice(*allowed: str) -> Callable[[object], str]:
    """One of `allowed`."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise ValueError(f"use {_alternatives(allowed)}")

    return read


def only(allowed: tuple[str, ...], later: tuple[str, ...], reason: str) -> Callable[[object], str]:
    """One of `allowed`; the values of `later` belong to the contract but are refused with `reason`."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        because = f"{reason}: " if isinstance(value, str) and value in later else ""
        raise ValueError(f"{because}use {_alternatives(allowed)}")

    return read


def never(reason: str) -> Callable[[object], None]:
    """No value at all: the key belongs to the contract, but acting as if it worked would be dangerous."""

    def read(value: object) -> None:
        raise ValueError(f"{reason}: use null or leave it out")

    return read


def boolean(value: object) -> bool:
    """True or false, and not a number or a word that looks like one."""
    if isinstance(value, bool):
        return value
    raise ValueError("use true or false")


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"use a whole number from {low} to {high}")

    return read


def number(low: float, high: float) -> Callable[[object], float]:
    """A number from `low` to `high`."""

    def read(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise ValueError(f"use a number from {low:g} to {high:g}")

    return read


def fraction(low: str, high: str) -> Callable[[object], float]:
    """A fraction of one from `low` to `high`, which are percentages."""
    least, most = units.fraction(low), units.fraction(high)

    def read(value: object) -> float:
        part = units.fraction(value)
        if least <= part <= most:
            return part
        raise ValueError(f"{units.FRACTION}, from {low} to {high}")

    return read


def duration(low: str, high: str) -> Callable[[object], float]:
    """Seconds, from `low` to `high`, which are durations."""
    least, most = units.duration(low), units.duration(high)

    def read(value: object) -> float:
        seconds = units.duration(value)
        if least <= seconds <= most:
            return seconds
        raise ValueError(f"{units.DURATION}, from {low} to {high}")

    return read


def size(low: str, high: str) -> Callable[[object], int]:
    """Bytes, from `low` to `high`, which are sizes."""
    least, most = units.size(low), units.size(high)

    def read(value: object) -> int:
        count = units.size(value)
        if least <= count <= most:
            return count
        raise ValueError(f"{units.SIZE}, from {low} to {high}")

    return read


def environment_variable(value: object) -> str:
    """The name of the environment variable that holds a secret."""
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return value
    raise ValueError("write the name of an environment variable, never the secret itself")


def path(value: object) -> str:
    """A request path as it stands on the wire: no query, no fragment, no dot segments."""
    if isinstance(value, str) and len(value) <= _LONGEST_PATH and _PATH.fullmatch(value):
        segments = value.split("/")
        if not value.startswith("//") and "." not in segments and ".." not in segments:
            return value
    raise ValueError("write a path in ASCII from its '/' on, without query, fragment, '.' and '..' segments")


def pointer(value: object) -> str:
    """A JSON pointer to a part of a document."""
    if isinstance(value, str) and _POINTER.fullmatch(value):
        return value
    raise ValueError("write a JSON pointer (RFC 6901) such as /user/id")


def header_name(value: object) -> str:
    """The NAME of `header:NAME`, in lower case; a header that a client can set and that we pass on."""
    if not isinstance(value, str) or not value.startswith("header:"):
        raise ValueError("write header:NAME")
    name = value.removeprefix("header:").lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError("write header:NAME with the name of an HTTP header, such as header:x-user-id")
    if name in HOP_BY_HOP:
        raise ValueError(f"{name} belongs to one connection, not to a user; name another header")
    if name.startswith("x-pointsman-"):
        raise ValueError("x-pointsman-* headers are ours and are removed from requests; name another header")
    return name


def _is_clean(value: str) -> bool:
    return value.isprintable() and value == value.strip()


def _alternatives(allowed: tuple[str, ...]) -> str:
    words = [f"'{word}'" for word in allowed]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
