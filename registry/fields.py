"""Reading what registries answer: documents of others, in which anything may be missing or of another type.

A field that is not there, or not what it should be, is not known: it reads as empty and never raises. What is
long is cut, with the digest of all of it, so that two long values that differ still read differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit

import orjson

LONGEST = 1000
"""Characters of one value."""

MOST = 1000
"""Hyperparameters, and metrics, of one record."""


def mapping(value: object, *path: str) -> Mapping[str, object]:
    """The mapping under `path`; an empty one where there is none."""
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def mappings(value: object, *path: str) -> list[Mapping[str, object]]:
    """The mappings in the list under `path`."""
    found = at(value, *path)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def at(value: object, *path: str) -> object:
    """What stands under `path`; None where there is nothing."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text(value: object, *path: str) -> str:
    """The text under `path`, or the number as text; "" for anything else."""
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    return bounded(str(found).strip())


def bounded(value: str) -> str:
    """`value`, or its start and the digest of all of it when it is long."""
    if len(value) <= LONGEST:
        return value
    digest = sha256(value.encode("utf-8", "replace")).hexdigest()
    return f"{value[: LONGEST - 100]}… sha256:{digest}"


def number(value: object, *path: str) -> float | None:
    """The finite number under `path`."""
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        return float(found) if math.isfinite(found) else None
    except OverflowError:
        return None


def milliseconds(value: object, *path: str) -> float | None:
    """Seconds since the epoch, where milliseconds stand, as a number or as text."""
    found = at(value, *path)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= 15:
        found = int(found)
    count = number(found)
    return None if count is None or not 0 < count < 1e14 else count / 1000


def instant(value: object, *path: str) -> float | None:
    """Seconds since the epoch, where an ISO 8601 time with its offset stands."""
    found = at(value, *path)
    try:
        moment = datetime.fromisoformat(found) if isinstance(found, str) else None
        return None if moment is None or moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        return None


def location(value: str) -> str:
    """A location without what may be a secret: no user name and password, and no query in a URL."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    if not parts.netloc:
        return bounded(value)
    query = "" if parts.scheme in ("http", "https") else parts.query
    return bounded(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, "")))


def hyperparameters(values: Iterable[tuple[str, object]]) -> tuple[tuple[str, str], ...]:
    """By name; values that are no text as JSON. Beyond the bound, one entry has the digest of the rest."""
    found = sorted((bounded(name), bounded(_written(value))) for name, value in values)
    if len(found) <= MOST:
        return tuple(found)
    rest = found[MOST - 1 :]
    digest = sha256(orjson.dumps(rest)).hexdigest()
    return (*found[: MOST - 1], ("…", f"{len(rest)} more, sha256:{digest}"))


def metrics(values: Iterable[tuple[str, object]]) -> tuple[tuple[str, float], ...]:
    """Those that are finite numbers, by name; the first thousand."""
    found = {bounded(name): count for name, value in values if (count := number(value)) is not None}
    return tuple(sorted(found.items()))[:MOST]


def digest_of(value: object) -> str:
    """`sha256:HEX` of `value` as JSON with sorted keys."""
    return "sha256:" + sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _written(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return repr(value)
