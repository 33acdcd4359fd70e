"""Instants, as people write them and as the chain keeps them: microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _END = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""A year inside what a `datetime` can hold: what lies near a time, and the time in UTC, are times as well."""

ALLOWED = "write a time as ISO 8601 with its offset, such as 2026-03-01T14:30:00+01:00 or …Z"


def micros(seconds: float) -> int:
    """Seconds since the epoch as microseconds."""
    return round(seconds * 1_000_000)


def parse(text: str) -> int:
    """The instant that `text` names, in microseconds since the epoch.

    Raises ValueError, which says what is allowed, for anything but ISO 8601 with an offset: a time without
    one means another instant to every reader.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time; {ALLOWED}") from error
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no offset, so it could be many instants; {ALLOWED}")
    if not _FIRST <= found < _END:
        raise ValueError(f"{text!r} is out of range; {ALLOWED}, of the years 2 to 9998")
    return (found - _EPOCH) // _MICROSECOND


def iso(at: int) -> str:
    """`at` (microseconds since the epoch) as UTC text with microseconds and offset."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds")
