"""The rain series' real drift, replayed with its labels: what the guards make of it.

From day 12 000 on the published file holds every feature one column to the left of its heading: same schema,
plausible numbers, and a model that is worse than a coin (examples/rain/PROVENANCE.md). Here that happens in
the middle of a trial, to the candidate alone or to both versions. A day's label is whether it rained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from domain.verdict import Verdict
from examples.rain.data import FEATURES, Series, load
from examples.rain.models import Recipe, Trained, train
from killswitch.drift import FeatureReference
from killswitch.guards import GuardReport, GuardSet, LabelledPair, Request
from settings.schema import AccuracyGuard, DriftGuard, GuardSettings

Rows = npt.NDArray[np.float64]
SEASONS = ("winter", "spring", "summer", "autumn")
REPLAY_FROM = 6_000
TURNED_FROM = 12_000
WATCHED = tuple(at for at, name in enumerate(FEATURES) if name != "visibility")
"""Visibility was measured in another way in later years: it drifts by itself."""
DAY = 86_400.0
BATCH = 10


@pytest.fixture(scope="module")
def series() -> Series:
    return load()


@pytest.fixture(scope="module")
def incumbent(series: Series) -> Trained:
    return train(series, Recipe("rain-1", REPLAY_FROM - 365, 1.0))


@pytest.fixture(scope="module")
def candidate(series: Series) -> Trained:
    return train(series, Recipe("rain-2", REPLAY_FROM, 2.0))


def as_published(rows: Rows) -> Rows:
    """Every feature one column to the left, as the file has them."""
    return np.roll(rows, -1, axis=1)


def season(day: int) -> str:
    return SEASONS[int(((day + 31) % 365.25) // 91.4) % 4]


def labelled(
    days: range, series: Series, one: Trained, two: Trained, rows: Rows, other: Rows
) -> list[LabelledPair]:
    """What the two models said of `days`, `rows` shown to the first and `other` to the second."""
    truth = series.rained[days.start : days.stop] == 1
    mine = (one.probabilities(rows) >= 0.5) == truth
    theirs = (two.probabilities(other) >= 0.5) == truth
    return [
        LabelledPair(day + 1, (f"season={season(day)}",), ((bool(mine[at]), bool(theirs[at])),), day * DAY)
        for at, day in enumerate(days)
    ]


def replay(guards: GuardSet, pairs: Sequence[LabelledPair]) -> tuple[GuardReport | None, int]:
    """The breach, and after how many labels it came."""
    for at in range(0, len(pairs), BATCH):
        breach = guards.observe_labels(pairs[at : at + BATCH])
        if breach is not None:
            return breach, at + BATCH
    return None, len(pairs)


def test_a_candidate_that_reads_turned_columns_is_caught_by_its_labels(
    series: Series, incumbent: Trained, candidate: Trained
) -> None:
    guards = GuardSet(GuardSettings(accuracy=AccuracyGuard(0.02)))
    before, after = range(REPLAY_FROM, TURNED_FROM), range(TURNED_FROM, len(series))
    rows = series.rows[REPLAY_FROM:TURNED_FROM]
    breach, _ = replay(guards, labelled(before, series, incumbent, candidate, rows, rows))
    assert breach is None, "sixteen years of honest labels"
    assert guards.reports(100)[0].certified, "a year more of training days made it no worse"
    turned = series.rows[TURNED_FROM:]
    pairs = labelled(after, series, incumbent, candidate, turned, as_published(turned))
    breach, count = replay(guards, pairs)
    assert breach is not None
    assert breach.guard == "accuracy"
    assert count <= 400
    seen = pairs[:count]
    lost = sum(incumbent - candidate for one in seen for incumbent, candidate in one.rows)
    assert lost / count > 0.1
    named = {report.cohort for report in guards.cohorts(0) if report.verdict is Verdict.FAIL}
    assert named
    assert named <= {"", *(f"season={name}" for name in SEASONS)}


def test_drift_that_hits_both_arms_is_no_fault_of_the_candidate(
    series: Series, incumbent: Trained, candidate: Trained
) -> None:
    """Both read the turned columns, both are wrong, the candidate no more often: only drift warns."""
    guards = GuardSet(GuardSettings(accuracy=AccuracyGuard(0.05), drift=DriftGuard(0.25)))
    guards.refer(references(series.rows[:REPLAY_FROM]))
    days = range(REPLAY_FROM, len(series))
    rows = series.rows[REPLAY_FROM:]
    order = np.random.default_rng(1).permutation(len(rows))  # clients ask about any day, not season by season
    healthy, turned = order[:5000], order[5000:10_000]
    show(guards, rows[healthy], healthy, 0.0)
    assert guards.reports(0)[-1].verdict is Verdict.PASS
    assert max(guards.drifts().values()) < 0.25

    pairs = labelled(days, series, incumbent, candidate, as_published(rows), as_published(rows))
    wrong = 1 - sum(pairs[at].rows[0][0] for at in turned) / len(turned)
    assert wrong > 0.35
    breach, _ = replay(guards, [pairs[at] for at in turned])
    assert breach is None
    show(guards, as_published(rows[turned[:1000]]), turned[:1000], 1e9)
    report = guards.reports(0)[-1]
    assert report.soft
    assert report.verdict is Verdict.FAIL
    assert report.cohort.startswith("feature:")
    assert guards.breach is None, "drift holds a release up, and takes nobody out"


def references(rows: Rows) -> list[FeatureReference]:
    """Every feature's tenths over the training days."""
    found = []
    for name, column in ((FEATURES[at], rows[:, at]) for at in WATCHED):
        edges = np.unique(np.quantile(column, np.arange(1, 10) / 10))
        bins = np.searchsorted(edges, column)
        shares = np.bincount(bins, minlength=len(edges) + 1) / len(column)
        found.append(FeatureReference(name, tuple(edges.tolist()), (*shares.tolist(), 0.0)))
    return found


def show(guards: GuardSet, rows: Rows, units: npt.NDArray[np.int64], now: float) -> None:
    names = [FEATURES[at] for at in WATCHED]
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        requests = [
            Request(int(unit) + 1, now, dict(zip(names, row[WATCHED, np.newaxis], strict=True)))
            for unit, row in zip(units[part], rows[part], strict=True)
        ]
        guards.observe_requests(requests, now)
