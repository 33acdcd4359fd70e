"""One endpoint's drift: what it is measured against, what came since it was kept last, and its alarm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from control.drift_watch import DriftWatch, KeptWatch
from monitoring.drift import learning as learned
from monitoring.drift.drawing import Seen
from monitoring.drift.hour import HOUR, Hour, hour_of, total
from monitoring.drift.learning import KeptLearning, Learning
from monitoring.drift.store import Adopted
from settings.schema import EndpointSettings

KEPT_FOR = 15 * 86_400.0
"""Seconds that hours are kept: two weeks, and a day."""
AHEAD = 120.0
"""Seconds that a request may be from the future."""
MOST_UNKEPT = 72
"""Hours that wait for a database that is out of reach."""
NAMES_FROM = 100
"""Requests that say which features there are."""

TAKEN, SKEWED, LOST = "taken", "skewed", "lost"


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What survives a restart, besides the hours."""

    watch: KeptWatch | None
    learning: KeptLearning | None


class DriftOf:
    """The drift of one endpoint.

    Attributes:
        adopted: what is measured against; None while there is none.
        source: where that is to come from, told apart by its contents; None while that is not known.
        problem: why there is none, where that is not for want of requests.
        learning: requests that a profile is learned from, or that tell which features there are.
        hours: counts that are not in the database yet, by hour.
        rows: requests by what became of them; `records`: of how many records they were drawn.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self.adopted: Adopted | None = None
        self.source: str | None = None
        self.problem: str | None = None
        self.learning = Learning()
        self.hours: dict[int, Hour] = {}
        self.watch: DriftWatch | None = None
        self.rows: Counter[str] = Counter()
        self.records = 0
        self.restored: Kept | None = None
        self._ranges = dict(settings.drift.ranges)
        self._cohorts = [str(one) for one in settings.cohorts]

    def take(self, rows: Sequence[Seen], records: int, now: float, wall: float) -> bool:
        """Requests that were drawn of so many records; whether the alarm has begun. `now` is monotonic."""
        self.records += records
        timely = [row for row in rows if wall - KEPT_FOR < row.at <= wall + AHEAD and _sound(row)]
        self.rows[TAKEN] += len(timely)
        self.rows[SKEWED] += len(rows) - len(timely)
        if self.adopted is None:
            self.learning.take(timely)
            return False
        begun = False
        by_hour: dict[int, list[Seen]] = {}
        for row in timely:
            by_hour.setdefault(hour_of(row.at), []).append(row)
        for number, mine in by_hour.items():
            hour = self.hours.get(number)
            if hour is None:
                hour = self.hours[number] = Hour(self.adopted.profile)
            cells = hour.take(mine, self._ranges, self._cohorts)
            if self.watch is not None:
                begun = self.watch.take(mine, cells, now, wall) or begun
        while len(self.hours) > MOST_UNKEPT:
            self.rows[LOST] += self.hours.pop(min(self.hours)).rows
        return begun

    def put_back(self, hours: dict[int, Hour]) -> None:
        """These could not be kept: what came meanwhile is added to them."""
        for number, hour in hours.items():
            mine = self.hours.get(number)
            self.hours[number] = hour if mine is None else total(hour.profile, (hour, mine))

    def adopt(self, adopted: Adopted) -> None:
        """Measure against it from now on."""
        if self.adopted is not None and self.adopted.digest == adopted.digest:
            self.adopted, self.source = adopted, adopted.source
            return
        self.forget()
        self.adopted, self.source, self.problem = adopted, adopted.source, None
        if self.settings.guards.drift is not None:
            self.watch = DriftWatch(adopted.profile, adopted.digest, self.settings.guards)
            if self.restored is not None and self.restored.watch is not None:
                self.watch.restore(self.restored.watch)
        self.restored = None

    def forget(self) -> None:
        """Measure against nothing, and learn anew."""
        self.adopted, self.watch = None, None
        self.learning = Learning()
        self.hours = {}

    def succeed(self, earlier: DriftOf) -> None:
        """Go on from before a reload, where the same is measured in the same way."""
        self.rows, self.records = earlier.rows, earlier.records
        mine, theirs = self.settings, earlier.settings
        if (mine.drift, mine.log, mine.protocol, mine.compare) != (
            theirs.drift,
            theirs.log,
            theirs.protocol,
            theirs.compare,
        ):
            return
        self.learning, self.hours = earlier.learning, earlier.hours
        self.restored = earlier.keep() if earlier.adopted is not None else earlier.restored
        if earlier.adopted is not None:
            hours = self.hours
            self.adopt(earlier.adopted)
            self.hours = hours

    @property
    def learns_until(self) -> float | None:
        """When learning may end at the earliest, seconds since 1970; None before the first request."""
        since = self.learning.since
        return None if since is None else since + self.settings.drift.over

    def keep(self) -> Kept:
        """Everything `restore` needs."""
        watch = None if self.watch is None else self.watch.keep()
        if self.adopted is None and self.restored is not None:
            watch = self.restored.watch  # its profile is still on its way
        return Kept(watch, self.learning.keep() if self.adopted is None else None)

    def restore(self, kept: Kept) -> None:
        """What an earlier life kept. Of the alarm it counts once its profile is adopted."""
        self.restored = kept
        if kept.learning is not None and self.adopted is None and not self.learning.seen:
            self.learning = learned.restored(kept.learning)


def _sound(row: Seen) -> bool:
    return math.isfinite(row.at) and math.isfinite(row.latency) and 0 <= row.unit < 2**64


def oldest(wall: float) -> int:
    """The first hour that is kept."""
    return hour_of(wall - KEPT_FOR + HOUR)
