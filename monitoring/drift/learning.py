"""A profile learned from the first window of live traffic: so long at least, and so many requests at least.

Of more requests than MOST_ROWS a part is kept, evenly spread, as traffic comes: an hour of it is known from
some thousands. A window of one hour has seen one hour of the day: what changes with the time of day is drift
by such a profile, and the same hours of the week before are the fairer comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from monitoring.drift.drawing import Seen
from monitoring.drift.hour import columns
from monitoring.drift.profile import Profile, gathered, profile

MOST_ROWS = 10_000
MOST_VALUES = 2**18

LEARNED = "learned"


class KeptLearning(msgspec.Struct, frozen=True, array_like=True):
    """What survives a restart."""

    seen: int
    stride: int
    since: float | None
    rows: list[Seen]


class Learning:
    """Rows so far. `seen` counts the requests that were looked at."""

    def __init__(self) -> None:
        self.seen = 0
        self.since: float | None = None
        self._until = 0.0
        self._stride = 1
        self._rows: list[Seen] = []
        self._values = 0

    def take(self, rows: Sequence[Seen]) -> None:
        """More of them."""
        for row in rows:
            self.since = row.at if self.since is None else min(self.since, row.at)
            self._until = max(self._until, row.at)
            if self.seen % self._stride == 0:
                self._rows.append(row)
                self._values += len(row.features) + 2
                while len(self._rows) > MOST_ROWS or (self._values > MOST_VALUES and len(self._rows) > 1):
                    self._stride *= 2
                    self._rows = self._rows[::2]
                    self._values = sum(len(one.features) + 2 for one in self._rows)
            self.seen += 1

    def due(self, least: int, over: float) -> bool:
        """Whether there are `least` requests from `over` seconds at least."""
        return self.seen >= least and self.since is not None and self._until - self.since >= over

    def profile(self, categories: int) -> Profile:
        """What was learned. Raises ValueError when nothing that was seen can be a column."""
        found = columns(self._rows)
        return profile(found, LEARNED, categories=categories, since=self.since, until=self._until)

    def features(self) -> list[str]:
        """The features that half of the requests have, or more."""
        return list(gathered(row.features for row in self._rows))

    def keep(self) -> KeptLearning:
        """Everything `restored` needs."""
        return KeptLearning(self.seen, self._stride, self.since, self._rows)


def restored(kept: KeptLearning) -> Learning:
    """The learning that was kept."""
    found = Learning()
    found.seen, found._stride, found.since = kept.seen, max(1, kept.stride), kept.since
    found._rows = kept.rows[:MOST_ROWS]
    found._values = sum(len(one.features) + 2 for one in found._rows)
    found._until = max((one.at for one in found._rows), default=0.0)
    return found
