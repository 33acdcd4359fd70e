"""Sketches: what came in a stretch of time, counted in the cells of a profile. Merging is adding.

A sketch never grows: cells are the profile's, new texts are counted by name up to MOST_NEW of them, and
beyond it together. Sums of numbers are kept by bin, so that the Wasserstein distance sees how far numbers
moved beyond the outermost edges, where all of them are in one bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from monitoring.drift import distances
from monitoring.drift.distances import Bounds
from monitoring.drift.profile import ColumnProfile, Floats, Whole, clipped, is_number
from monitoring.log.record import Value

MOST_NEW = 32
"""New texts that are counted by name."""
LONGEST_TEXT = 100

Range = tuple[float, float]


class KeptSketch(msgspec.Struct, frozen=True, array_like=True):
    """A sketch as it is kept: see Sketch."""

    counts: list[int]
    sums: list[float]
    below: int
    above: int
    lowest: float | None
    highest: float | None
    new: dict[str, int]


class Distance(NamedTuple):
    """How far a sketch is from its profile, or from another sketch.

    Attributes:
        shift: the total variation, with its bounds.
        stability: the population stability index; None for less than PSI_FROM rows.
        moved: the Wasserstein distance of the numbers, in standard deviations of the profile's; None without
            numbers on both sides.
        missing: the share of rows without a value, less the reference's.
    """

    shift: Bounds
    stability: float | None
    moved: float | None
    missing: float


class Sketch:
    """Rows of one column.

    Attributes:
        counts: by cell, of shape (cells,).
        sums: of the numbers in each bin, of shape (bins,).
        below, above: numbers outside of the range that is allowed.
        lowest, highest: of the numbers; None without any.
        new: texts that the profile does not know, by name, where it knows all there were.
    """

    def __init__(self, profile: ColumnProfile) -> None:
        self.profile = profile
        self.counts = np.zeros(len(profile.counts), dtype=np.int64)
        self.sums = np.zeros(profile.bins)
        self.below = self.above = 0
        self.lowest: float | None = None
        self.highest: float | None = None
        self.new: dict[str, int] = {}

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.counts.sum())

    @property
    def shares(self) -> Floats:
        """Of shape (cells,); all 0 without rows."""
        return self.counts / max(1, self.rows)

    @property
    def retyped(self) -> int:
        """Rows that hold a text where the profile has none, or a number where it has none."""
        profile, found = self.profile, 0
        if not profile.numbers:
            found += int(self.counts[: profile.bins].sum())
        if not profile.texts:
            found += int(self.counts[profile.bins : -1].sum())
        return found

    def take(self, values: Sequence[Value], allowed: Range | None = None) -> Whole:
        """More rows; the cell of each. `allowed`: the range of numbers; without, that of the profile."""
        profile = self.profile
        found = profile.cells(values)
        self.counts += np.bincount(found, minlength=len(self.counts))
        numbers = clipped([value for value in values if is_number(value)])
        if len(numbers):
            cells = profile.cells(numbers.tolist())
            self.sums += np.bincount(cells, weights=numbers, minlength=profile.bins)
            low, high = float(numbers.min()), float(numbers.max())
            self.lowest = low if self.lowest is None else min(self.lowest, low)
            self.highest = high if self.highest is None else max(self.highest, high)
            if allowed is None and profile.lowest is not None and profile.highest is not None:
                allowed = profile.lowest, profile.highest
            if allowed is not None:
                self.below += int((numbers < allowed[0]).sum())
                self.above += int((numbers > allowed[1]).sum())
        if profile.texts and not profile.counts[profile.other]:
            known = set(profile.categories)
            for value in values:
                if isinstance(value, str) and value not in known:
                    self._note(value[:LONGEST_TEXT], 1)
        return found

    def add(self, other: Sketch) -> None:
        """Rows of another sketch with the same cells. Raises ValueError for other cells."""
        if len(other.counts) != len(self.counts) or other.profile.edges != self.profile.edges:
            raise ValueError(f"column {self.profile.name}: the sketches have different cells")
        self.counts += other.counts
        self.sums += other.sums
        self.below += other.below
        self.above += other.above
        lows = [one for one in (self.lowest, other.lowest) if one is not None]
        highs = [one for one in (self.highest, other.highest) if one is not None]
        self.lowest, self.highest = min(lows, default=None), max(highs, default=None)
        for text, count in other.new.items():
            self._note(text, count)

    def distance(self, misjudged: float, other: Sketch | None = None) -> Distance:
        """How far it is from its profile, or from `other`; its bounds fail with a chance of `misjudged`."""
        mine = self.shares
        theirs = self.profile.shares if other is None else other.shares
        rows = self.profile.rows if other is None else other.rows
        told = min(self.rows, rows) >= distances.PSI_FROM
        return Distance(
            distances.bounded_variation(theirs, mine, (rows, self.rows), misjudged),
            distances.stability_index(theirs, mine) if told else None,
            self._moved(other),
            float(mine[-1] - theirs[-1]),
        )

    def _moved(self, other: Sketch | None) -> float | None:
        profile, bins = self.profile, self.profile.bins
        counts = np.array(profile.counts[:bins]) if other is None else other.counts[:bins]
        means = np.array(profile.means) if other is None else other.sums / np.maximum(counts, 1)
        mine = self.counts[:bins]
        if not (profile.sigma > 0 and mine.sum() and counts.sum()):
            return None
        places = self.sums / np.maximum(mine, 1)
        apart = distances.wasserstein(means, counts / counts.sum(), places, mine / mine.sum())
        return apart / profile.sigma

    def _note(self, text: str, count: int) -> None:
        if text in self.new or len(self.new) < MOST_NEW:
            self.new[text] = self.new.get(text, 0) + count

    def keep(self) -> KeptSketch:
        """Everything `restored` needs."""
        return KeptSketch(
            self.counts.tolist(), self.sums.tolist(), self.below, self.above, self.lowest, self.highest,
            dict(self.new),
        )  # fmt: skip


def restored(profile: ColumnProfile, kept: KeptSketch) -> Sketch:
    """The sketch that was kept. Raises ValueError when it is of other cells."""
    found = Sketch(profile)
    if len(kept.counts) != len(found.counts) or len(kept.sums) != len(found.sums):
        raise ValueError(f"column {profile.name}: what is kept has different cells")
    found.counts = np.array(kept.counts, dtype=np.int64)
    found.sums = np.array(kept.sums, dtype=np.float64)
    found.below, found.above = kept.below, kept.above
    found.lowest, found.highest, found.new = kept.lowest, kept.highest, dict(kept.new)
    return found
