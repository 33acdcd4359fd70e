"""An hour of an endpoint: every column's sketch, and latency by slice. Hours add up to any window."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from monitoring.drift import latencies, sketch
from monitoring.drift.drawing import Seen
from monitoring.drift.latencies import EVERY, Latencies
from monitoring.drift.profile import CONFIDENCE, FEATURE, PREDICTION, Profile, Whole, gathered
from monitoring.drift.sketch import KeptSketch, Range, Sketch
from monitoring.log.record import Value

HOUR = 3600.0
WEEK = 168
"""Hours."""

MOST_SLICED = 32
"""Features by whose ranges latency is told, the first ones."""
MOST_UNKNOWN = 16
"""Features that the profile does not have and that are counted by name."""

LARGEST = 64 * 1024 * 1024


class KeptHour(msgspec.Struct, frozen=True, array_like=True):
    """An hour as it is kept."""

    rows: int
    sketches: dict[str, KeptSketch]
    latencies: list[tuple[str, str, list[tuple[int, int]]]]
    unknown: dict[str, int]


class Hour:
    """Counts of a stretch of time against `profile`.

    Attributes:
        rows: requests.
        sketches: by the column's name.
        unknown: how many requests had a feature that the profile does not have, by its name.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.rows = 0
        self.sketches = {one.name: Sketch(one) for one in profile.columns}
        self.latencies = Latencies()
        self.unknown: dict[str, int] = {}

    def take(
        self, rows: Sequence[Seen], ranges: Mapping[str, Range], cohorts: Sequence[str]
    ) -> dict[str, Whole]:
        """More requests; of each column the cells of those that speak of it (see `columns`).

        `ranges`: what numbers of a feature may be, by its name; `cohorts`: what the rows' cohorts are of.
        """
        self.rows += len(rows)
        seconds = np.array([row.latency for row in rows])
        self.latencies.take(EVERY[0], [EVERY[1]] * len(rows), seconds)
        for at, name in enumerate(cohorts):
            values = [row.cohorts[at] if at < len(row.cohorts) else None for row in rows]
            self.latencies.take(name, ["" if one is None else one for one in values], seconds)
        found: dict[str, Whole] = {}
        sliced = 0
        for name, one in self.sketches.items():
            feature = name.removeprefix(FEATURE) if name.startswith(FEATURE) else None
            allowed = None if feature is None else ranges.get(feature)
            found[name] = one.take(values_of(rows, name), allowed)
            if feature is not None and sliced < MOST_SLICED:
                sliced += 1
                self.latencies.take(name, [str(cell) for cell in found[name].tolist()], seconds)
        self._note(rows)
        return found

    def _note(self, rows: Sequence[Seen]) -> None:
        for row in rows:
            for name in row.features:
                room = name in self.unknown or len(self.unknown) < MOST_UNKNOWN
                if room and FEATURE + name not in self.sketches:
                    self.unknown[name] = self.unknown.get(name, 0) + 1

    def add(self, other: Hour) -> None:
        """Counts of another hour, or replica, against the same profile. Raises ValueError."""
        for name, mine in self.sketches.items():
            mine.add(other.sketches[name])
        self.latencies.add(other.latencies)
        self.rows += other.rows
        for name, count in other.unknown.items():
            if name in self.unknown or len(self.unknown) < MOST_UNKNOWN:
                self.unknown[name] = self.unknown.get(name, 0) + count

    def keep(self) -> bytes:
        """For `restored`: some kilobytes."""
        kept = KeptHour(
            self.rows,
            {name: one.keep() for name, one in self.sketches.items()},
            self.latencies.keep(),
            self.unknown,
        )
        return zlib.compress(msgspec.msgpack.encode(kept), 1)


def restored(profile: Profile, kept: bytes) -> Hour:
    """The hour that was kept. Raises ValueError when it is unreadable, or of another profile."""
    try:
        packed = zlib.decompressobj()
        content = packed.decompress(kept, LARGEST)
        if not packed.eof:
            raise ValueError("a kept hour of drift is not whole")
        its = msgspec.msgpack.decode(content, type=KeptHour)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"a kept hour of drift cannot be read: {error}") from error
    found = Hour(profile)
    if set(its.sketches) != set(found.sketches):
        raise ValueError("a kept hour of drift is of other columns")
    found.rows = its.rows
    found.sketches = {one.name: sketch.restored(one, its.sketches[one.name]) for one in profile.columns}
    found.latencies = latencies.restored(its.latencies)
    found.unknown = its.unknown
    return found


def columns(rows: Sequence[Seen]) -> dict[str, list[Value]]:
    """Rows as columns by name, for a profile to be learned from."""
    said = {name: values_of(rows, name) for name in (PREDICTION, CONFIDENCE)}
    features = gathered(row.features for row in rows)
    return said | {FEATURE + name: values for name, values in features.items()}


def values_of(rows: Sequence[Seen], column: str) -> list[Value]:
    """The values of `column`; of the incumbent's predictions only where there is an answer."""
    if column == PREDICTION:
        return [row.prediction for row in rows if row.told]
    if column == CONFIDENCE:
        return [row.confidence for row in rows if row.told]
    name = column.removeprefix(FEATURE)
    return [row.features.get(name) for row in rows]


def hour_of(at: float) -> int:
    """The hour that holds this instant (seconds since 1970), counted from then."""
    return int(at // HOUR)


def total(profile: Profile, hours: Iterable[Hour]) -> Hour:
    """All of them as one. Raises ValueError for hours of another profile."""
    found = Hour(profile)
    for one in hours:
        found.add(one)
    return found


def alike(hours: Iterable[int], known: Iterable[int]) -> tuple[list[int], list[int]]:
    """Those of `hours` for which `known` has the same hour of the week before, and these."""
    there = set(known)
    found = sorted(hour for hour in set(hours) if hour - WEEK in there)
    return found, [hour - WEEK for hour in found]
