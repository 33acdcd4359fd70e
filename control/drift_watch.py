"""The alarm on an endpoint's drift: anytime-valid evidence that requests are not what the profile says.

It is the soft guard of `killswitch.drift`, on the cells of a profile in place of bins of its own: whatever a
value is, it is in a cell. Features speak for each request, predictions only where the incumbent answered, so
each has a guard; they share the false-alarm rate by their columns, so that the chance of any alarm, ever,
without a shift beyond the limit, is at most `guards.false_alarm`. A unit votes once in a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from domain.verdict import Verdict
from killswitch.drift import DriftGuard, KeptDrift
from killswitch.references import FeatureReference
from killswitch.report import GuardReport, Sight
from monitoring.drift.drawing import Seen
from monitoring.drift.profile import CONFIDENCE, PREDICTION, ColumnProfile, Profile, Whole
from settings.schema import GuardSettings

AT_ONCE = 128
"""Requests of a batch: which cells are too full is looked at between two."""

SAID = (PREDICTION, CONFIDENCE)
"""Columns of which only requests speak that the incumbent answered."""


class KeptWatch(msgspec.Struct, frozen=True, array_like=True):
    """What survives a restart."""

    digest: str
    parts: list[KeptDrift]
    since: float | None


class Alarm(NamedTuple):
    """How the alarm stands; `report` is of the column with the most evidence, `since` while it is FAIL."""

    report: GuardReport
    since: float | None


class DriftWatch:
    """Watches one endpoint against `profile`."""

    def __init__(self, profile: Profile, digest: str, settings: GuardSettings) -> None:
        """Raises ValueError where no drift is configured; ConfigError for an impossible limit."""
        if settings.drift is None:
            raise ValueError("no drift is configured")
        self.since: float | None = None
        self._digest = digest
        self._shift = settings.drift.shift
        columns = profile.columns
        groups = [
            [one for one in columns if one.name not in SAID],
            [one for one in columns if one.name in SAID],
        ]
        self._parts = [
            DriftGuard(
                [reference(one) for one in group],
                settings.drift.shift,
                settings.false_alarm * len(group) / len(columns),
                settings.vote_window,
            )
            for group in groups
            if group
        ]

    def take(self, rows: Sequence[Seen], cells: Mapping[str, Whole], now: float, wall: float) -> bool:
        """Requests, and the cell of each in every column that it speaks of; whether the alarm has begun."""
        for guard in self._parts:
            said = guard.names[0] in SAID
            speaking = [row for row in rows if row.told] if said else list(rows)
            if not speaking:
                continue
            values = np.column_stack([_placed(cells[one.name], len(one.shares)) for one in guard.references])
            for start in range(0, len(speaking), AT_ONCE):
                part = speaking[start : start + AT_ONCE]
                units, at = [row.unit for row in part], [row.at for row in part]
                guard.add([guard.read(units, values[start : start + AT_ONCE], at, now)])
        if not any(guard.breaches for guard in self._parts):
            self.since = None
            return False
        begun = self.since is None
        self.since = wall if begun else self.since
        return begun

    def alarm(self) -> Alarm:
        """How it stands."""
        reports = [guard.report(0, Sight()) for guard in self._parts]
        # Shares of the false-alarm rate differ: how near each is to its own threshold is what compares.
        worst = max(reports, key=lambda one: (one.verdict.severity, one.evidence / one.threshold))
        return Alarm(worst, self.since)

    @property
    def verdict(self) -> Verdict:
        """The worst of all columns."""
        return Verdict.worst(guard.verdict(0, Sight()) for guard in self._parts)

    def keep(self) -> KeptWatch:
        """Everything `restore` needs."""
        return KeptWatch(self._digest, [guard.keep() for guard in self._parts], self.since)

    def restore(self, kept: KeptWatch) -> None:
        """Go on from `kept` where it is of the same profile and limits; being soft, begin anew else."""
        if kept.digest != self._digest or len(kept.parts) != len(self._parts):
            return
        if all(guard.fits(part) for guard, part in zip(self._parts, kept.parts, strict=True)):
            for guard, part in zip(self._parts, kept.parts, strict=True):
                guard.restore(part)
            self.since = kept.since


def reference(column: ColumnProfile) -> FeatureReference:
    """`column` for a guard that is given the numbers of cells; the last cell is that of no number."""
    edges = tuple(cell + 0.5 for cell in range(len(column.counts) - 2))
    return FeatureReference(column.name, edges, tuple(column.shares.tolist()))


def _placed(cells: Whole, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.where(cells == count - 1, np.nan, cells.astype(np.float64))
