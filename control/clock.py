"""Two clocks as one value, so that tests can bring their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall`: seconds since the epoch, for people and records; `monotonic`: seconds, for intervals."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


def iso(at: float) -> str:
    """`at` (seconds since the epoch) as UTC text with microseconds and offset."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def iso_or_none(at: float | None) -> str | None:
    """As `iso`; None stays None."""
    return None if at is None else iso(at)
