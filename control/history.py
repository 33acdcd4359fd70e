"""How an endpoint's numbers went, for people who look at curves: bounded, in memory, and nothing else.

Two tracks are kept of every endpoint: ten minutes in steps of two seconds, and six hours in steps of a
minute. What is put on the first is drawn together for the second, as the mean of its values, or as the
largest where that is what matters: evidence that crossed its threshold within a minute must not be averaged
away. Numbers are kept as 32 bits and four digits: that is more than a curve shows, and a column of ten
minutes is 1200 bytes.

Pure: times come as arguments. A process that starts anew begins anew; what has to last is a metric, which
Prometheus keeps, or a record of the audit chain.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Column = tuple[str, ...]
"""What a number is of: `("guards", "flips", "estimate")`."""

Values = Mapping[Column, float]
Floats = npt.NDArray[np.float32]

RECENT = (2.0, 300)
LONG = (60.0, 360)
"""Seconds of a step, and how many steps are kept."""

MOST_COLUMNS = 200
MOST_MARKS = 100
DIGITS = 4

LARGEST = frozenset({"evidence", "tripped"})
"""Columns, by the end of their names, of which the largest value counts."""


class Mark(NamedTuple):
    """Something that happened: when (seconds since the epoch), of which kind, in words."""

    at: float
    kind: str
    text: str


class Track:
    """The latest `length` samples of any columns, all at the same times."""

    def __init__(self, step: float, length: int) -> None:
        self.step = step
        self.length = length
        self.number = 0
        self._times = np.zeros(length)
        self._columns: dict[Column, Floats] = {}
        self._written: dict[Column, int] = {}

    def put(self, at: float, values: Values) -> None:
        """A sample taken at `at` (seconds since the epoch); a column without a value has a gap there."""
        place = self.number % self.length
        self._times[place] = at
        for column in self._columns:
            self._columns[column][place] = np.nan
        for column, value in values.items():
            if math.isfinite(value):
                held = self._column(column)
                if held is not None:
                    held[place] = _short(value)
                    self._written[column] = self.number
        self.number += 1
        for column in [one for one, last in self._written.items() if last <= self.number - self.length]:
            del self._columns[column], self._written[column]

    def _column(self, column: Column) -> Floats | None:
        held = self._columns.get(column)
        if held is None and len(self._columns) < MOST_COLUMNS:
            held = self._columns[column] = np.full(self.length, np.nan, dtype=np.float32)
        return held

    def told(self, after: int) -> dict[str, object]:
        """What was put after the first `after` samples, oldest first; `after` of another life means 0.

        `next` is what to ask for the next time; `columns` are nested by the parts of their names.
        """
        first = max(0, self.number - self.length)
        begin = max(first, after) if 0 <= after <= self.number else first
        places = np.arange(begin, self.number) % self.length
        columns: dict[str, object] = {}
        for name, held in self._columns.items():
            if self._written[name] >= begin:
                _nest(columns, name, held[places])
        return {"step": self.step, "next": self.number, "at": self._times[places], "columns": columns}

    def mean(self, column: Column, samples: int) -> float | None:
        """The mean of the latest `samples`; None where there is no value among them."""
        found = self.last(column, samples)
        found = found[~np.isnan(found)]
        return float(found.mean()) if len(found) else None

    def last(self, column: Column, samples: int) -> Floats:
        """The latest `samples` at most, oldest first; those that are missing are not a number."""
        begin = max(0, self.number - min(samples, self.length))
        held = self._columns.get(column)
        if held is None:
            return np.full(self.number - begin, np.nan, dtype=np.float32)
        return held[np.arange(begin, self.number) % self.length]


@dataclass(slots=True)
class _Sum:
    """What is drawn together into one number."""

    total: float = 0.0
    count: int = 0
    largest: float = -math.inf

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1
        self.largest = max(self.largest, value)


class History:
    """The two tracks of an endpoint, and what happened meanwhile."""

    def __init__(self) -> None:
        self.recent = Track(*RECENT)
        self.long = Track(*LONG)
        self.marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self._sums: dict[Column, _Sum] = {}
        self._samples = 0

    def put(self, at: float, values: Values) -> None:
        """A sample, taken one step of the first track after the one before."""
        self.recent.put(at, values)
        for column, value in values.items():
            if math.isfinite(value):
                self._sums.setdefault(column, _Sum()).add(value)
        self._samples += 1
        if self._samples * self.recent.step >= self.long.step:
            self.long.put(at, {column: _drawn(column, one) for column, one in self._sums.items()})
            self._sums.clear()
            self._samples = 0

    def mark(self, mark: Mark) -> None:
        """Something happened."""
        self.marks.append(mark)


def _drawn(column: Column, found: _Sum) -> float:
    return found.largest if column[-1] in LARGEST else found.total / found.count


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _nest(into: dict[str, object], name: Column, values: Floats) -> None:
    for part in name[:-1]:
        deeper = into.setdefault(part, {})
        if not isinstance(deeper, dict):
            raise TypeError(f"{part!r} in {name} is a column and has columns")
        into = deeper
    into[name[-1]] = values
