"""What moved around a change of a signal: features, labels, and what each version answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitoring.diagnosis.changes import Concentration
from monitoring.diagnosis.points import Floats, coincidence, fit
from monitoring.diagnosis.shifts import Column, Shift, column, crossed, explained, grown, holm, shift
from monitoring.diagnosis.signals import Request, Series, feature_names

LABEL = "label"
FEWEST = 16
"""Answers of a version, before and after, from which on it can be said whether they are others."""

HARDLY_ANY = 0.05
"""The share of answers below which a version counts as not having answered before."""

_MOST_TOLD = 5
_MOST_CROSSED = 24
_CERTAIN = 1e-3


@dataclass(frozen=True, slots=True)
class Window:
    """Values of `series` from `start` to `end`, around its change before value `index`, at the time `at`."""

    series: Series
    start: int
    index: int
    end: int
    at: float

    @property
    def values(self) -> Floats:
        """Of the signal, of shape (n,)."""
        return self.series.values[self.start : self.end]

    @property
    def before(self) -> npt.NDArray[np.bool_]:
        """Which of them came before the change."""
        return np.arange(self.start, self.end) < self.index

    @property
    def versions(self) -> tuple[str, ...]:
        """Who said each."""
        return self.series.versions[self.start : self.end]

    def fit(self, at: float) -> float:
        """How well a step at the instant `at` explains the values."""
        place = int(np.searchsorted(self.series.at, at, side="left"))
        return coincidence(self.values, place - self.start)


@dataclass(frozen=True, slots=True)
class Moved:
    """A column that moved: what it did, the part of the signal's change that is due to it, how well its own
    change coincides with the signal's."""

    shift: Shift
    explained: float
    fit: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was measured around a change.

    Attributes:
        looked: how many columns were looked at.
        columns: features (by name), and labels, that moved.
        answers: for each version that answered before and after, whether it answers otherwise.
        fresh: versions that answer now and did not before.
        by_version: the part of the signal's change that is due to who answers.
    """

    looked: int = 0
    columns: Mapping[str, Moved] = field(default_factory=dict)
    answers: Mapping[str, bool] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    by_version: float = 0.0
    concentrations: tuple[Concentration, ...] = ()

    @property
    def answers_moved(self) -> bool:
        """Whether clients are told other things for what they ask."""
        return bool(self.fresh) or any(self.answers.values())


def surroundings(requests: Sequence[Request], window: Window, cohorts: Sequence[str] = ()) -> Surroundings:
    """What moved around the change of `window`, whose series is of `requests`; `cohorts` are named so."""
    first, last = int(window.series.requests[window.start]), int(window.series.requests[window.end - 1])
    seen = requests[first : last + 1]
    before = np.array([one.at < window.at for one in seen])
    cut = _columns(seen)
    own = window.series.requests[window.start : window.end] - first
    found = holm({name: shift(one, before) for name, one in cut.items()})
    place = int(before.sum())
    columns = {
        name: Moved(
            told,
            explained(cut[name].cells[own], window.values, window.before),
            fit(grown(cut[name], before), place),
        )
        for name, told in found.items()
        if told.moved
    }
    by_version = column(window.versions)
    return Surroundings(
        len(cut),
        columns,
        _answers(
            seen, window.at, [one for name, one in cut.items() if name not in columns and name != LABEL]
        ),
        _fresh(window),
        explained(by_version.cells, window.values, window.before),
        _concentrations(seen, cut, columns, own, window, cohorts),
    )


def _columns(requests: Sequence[Request]) -> dict[str, Column]:
    cut = {name: column([one.features.get(name) for one in requests]) for name in feature_names(requests)}
    labels = [one.labels[0] if one.labels else None for one in requests]
    if any(label is not None for label in labels):
        labelled = column(labels)
        cut[LABEL] = labelled
    return cut


def _fresh(window: Window) -> tuple[str, ...]:
    """The change of the signal is known to a few requests, so that a new version may have begun before it."""
    was = Counter(name for name, early in zip(window.versions, window.before, strict=True) if early)
    now = Counter(name for name, early in zip(window.versions, window.before, strict=True) if not early)
    early, late = was.total(), now.total()
    return tuple(
        sorted(name for name, count in now.items() if was[name] < HARDLY_ANY * early and
               was[name] * late < count * early)
    )  # fmt: skip


def _answers(requests: Sequence[Request], at: float, steady: Sequence[Column]) -> dict[str, bool]:
    """Whether each version answers otherwise: on the whole, or to requests with the same value of a feature
    that has not moved itself. The answers may be as many of each kind as before, and others."""
    said: dict[str, tuple[list[float | str | None], list[int]]] = {}
    for index, one in enumerate(requests):
        for answer in one.answers:
            if answer.predictions:
                values, places = said.setdefault(answer.version, ([], []))
                values.append(answer.predictions[0])
                places.append(index)
    found: dict[str, Shift] = {}
    early = np.array([one.at < at for one in requests])
    for version, (values, places) in said.items():
        before = early[places]
        if FEWEST <= before.sum() <= len(before) - FEWEST:
            told = column(values)
            found[version] = shift(told, before)
            for number, feature in enumerate(steady[:_MOST_CROSSED]):
                asked = Column(feature.cells[places], feature.names)
                found[f"{version} {number}"] = shift(crossed(asked, told), before)
    moved = {name for name, told in holm(found).items() if told.moved}
    return {
        version: version in moved
        or any(f"{version} {number}" in moved for number in range(len(steady[:_MOST_CROSSED])))
        for version in said
        if version in found
    }


def _concentrations(
    requests: Sequence[Request],
    cut: Mapping[str, Column],
    columns: Mapping[str, Moved],
    own: npt.NDArray[np.intp],
    window: Window,
    cohorts: Sequence[str],
) -> tuple[Concentration, ...]:
    """Where the signal is certainly higher than elsewhere, after the change; the highest first."""
    looked = {name: one for name, one in cut.items() if name != LABEL}
    for place, name in enumerate(cohorts):
        looked[name] = column([one.cohorts[place] if place < len(one.cohorts) else None for one in requests])
    after = ~window.before
    values = window.values[after]
    tests = sum(len(one.names) for one in looked.values())
    found: list[Concentration] = []
    for name, one in looked.items():
        cells = one.cells[own][after]
        for cell, called in enumerate(one.names):
            inside = cells == cell
            count = int(inside.sum())
            if FEWEST <= count <= len(values) - FEWEST:
                mean, rest = float(values[inside].mean()), float(values[~inside].mean())
                p = min(1.0, tests * _higher(values[inside], values[~inside]))
                if mean > rest and p <= _CERTAIN:
                    found.append(Concentration(f"{name}={called}", count, mean, rest, p))
    return tuple(sorted(found, key=lambda one: one.rest - one.mean)[:_MOST_TOLD])


def _higher(one: Floats, other: Floats) -> float:
    """The chance that means differ so, by the normal approximation."""
    error = math.sqrt(float(one.var()) / len(one) + float(other.var()) / len(other))
    gap = float(one.mean() - other.mean())
    return 0.5 * math.erfc(gap / error / math.sqrt(2)) if error else float(gap <= 0)
