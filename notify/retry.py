"""When something that was not delivered is tried again, and when it is given up: pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 3600.0
"""Seconds that a receiver may ask us to wait."""


class Fate(enum.Enum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    AGAIN = "again"


_NEVER = frozenset({400, 410, 413, 414, 415, 422})
"""The same message would be refused again."""


def fate(status: int) -> Fate:
    """What the receiver's `status` means. Redirects are not followed, so that they are no delivery."""
    if 200 <= status < 300:
        return Fate.DELIVERED
    return Fate.REFUSED if status in _NEVER else Fate.AGAIN


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses double from `first` to `longest` seconds; after `patience` seconds a message is given up."""

    first: float = 1.0
    longest: float = 300.0
    patience: float = 86_400.0

    def pause(self, attempts: int, draw: float, retry_after: float | None = None) -> float:
        """Seconds until the next attempt after `attempts` of them; `draw` in [0, 1) spreads replicas.

        It is half to one and a half of the pause that is due, and no less than the receiver asked for.
        """
        due = min(self.longest, self.first * 2.0 ** min(attempts - 1, 60)) * (0.5 + draw)
        return max(due, min(retry_after or 0.0, LONGEST_WAIT))


def retry_after(field: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` field (RFC 9110 section 10.2.3) asks for; None when it says nothing."""
    if not field:
        return None
    if field.strip().isdecimal() and field.isascii():
        return min(float(field), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(field)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, at.timestamp() - now), LONGEST_WAIT)
