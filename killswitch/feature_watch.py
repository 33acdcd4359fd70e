"""Feature drift as configured: against a reference that is given, or one learned from the first requests.

While it learns, the requests themselves are kept, a row each, and pass through `read` and `add` like
evidence: so that several processes learn the same reference from the same requests, and a restart goes on
where it was. Of a batch of rows one stands for the request, whose place goes round with the requests. A unit
is learned from once in a window, as it votes once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from domain.verdict import Verdict
from killswitch import sentences
from killswitch.drift import DriftGuard, DriftIncrement, KeptDrift
from killswitch.increments import numbers
from killswitch.references import MOST_FEATURES, FeatureReference, Request, Row, learned, matrix
from killswitch.report import GuardReport, Sight
from killswitch.signals import DRIFT
from killswitch.votes import Votes
from settings.schema import GuardSettings

MOST_LEARNED = 2**17
"""Numbers kept while learning; of longer rows the first features."""

Increment = tuple[dict[str, DriftIncrement], tuple[Row, ...]]
"""Votes by feature, and requests to learn from."""


class KeptWatch(msgspec.Struct, frozen=True):
    """What survives a restart: the evidence, or the requests that were learned from so far."""

    drift: KeptDrift | None
    rows: list[dict[str, float | None]]
    learned: bool


class FeatureWatch:
    """The soft guard of one endpoint, from its first request on."""

    def __init__(self, settings: GuardSettings) -> None:
        """Raises ValueError where no drift is configured, ConfigError for an impossible limit."""
        if settings.drift is None:
            raise ValueError("no drift is configured")
        self._shift = settings.drift.shift
        self._learn = settings.drift.learn
        self._settings = settings
        self._guard: DriftGuard | None = None
        self._learned = False
        self._rows: list[Row] = []
        self._votes = Votes(settings.vote_window)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The features that are watched; None while they are being learned."""
        return None if self._guard is None else self._guard.names

    def refer(self, references: Sequence[FeatureReference]) -> None:
        """Compare with these from now on. Raises ValueError without features, or with too many."""
        settings = self._settings
        self._guard = DriftGuard(references, self._shift, settings.false_alarm, settings.vote_window)
        self._learned, self._rows = False, []

    def read(self, requests: Sequence[Request], now: float) -> Increment:
        """What a batch of requests will do; it notes who has voted at `now`."""
        if self._guard is None:
            return {}, self._to_learn(requests, now)
        values, owners = matrix(requests, self._guard.names)
        units, at = [one.unit for one in requests], [one.at for one in requests]
        per = self._settings.vote_per
        if per != "pair" and len(owners):
            # Who speaks: a request by all its rows or, where each votes, every row by itself.
            each = np.array([per == "row" or not unit for unit in units], dtype=bool)[owners]
            first = np.ones(len(owners), dtype=bool)
            first[1:] = each[1:] | (owners[1:] != owners[:-1])
            whose = owners[first].tolist()
            units, at = [units[one] for one in whose], [at[one] for one in whose]
            owners = np.cumsum(first) - 1
        return self._guard.read(units, values, at, now, owners), ()

    def add(self, votes: Sequence[Mapping[str, DriftIncrement]], rows: Sequence[Row]) -> None:
        """Several parts of one batch. What was read before a reference was learned is too late for it."""
        if self._guard is not None:
            self._guard.add(votes)
            return
        self._rows += rows[: self._learn - len(self._rows)]
        if len(self._rows) < self._learn:
            return
        found = learned(self._rows)
        self._rows = []
        if found:
            self.refer(found)
            self._learned = True

    def variations(self) -> dict[str, float]:
        """The total variation of each feature so far; none while they are being learned."""
        return {} if self._guard is None else self._guard.variations()

    def verdict(self, needed: int, sight: Sight) -> Verdict:
        """As of DriftGuard; INCONCLUSIVE while the reference is being learned."""
        return Verdict.INCONCLUSIVE if self._guard is None else self._guard.verdict(needed, sight)

    def report(self, needed: int, sight: Sight) -> GuardReport:
        """How it stands; it says where its reference comes from when that was learned."""
        if self._guard is not None:
            report = self._guard.report(needed, sight)
            return replace(report, sentence=f"{report.sentence}{self._origin}") if self._learned else report
        so_far = f"{sentences.count(len(self._rows))} of them are known"
        return GuardReport(
            guard=DRIFT, verdict=Verdict.INCONCLUSIVE, estimate=0.0, limit=self._shift, evidence=0.5,
            threshold=1 / self._settings.false_alarm, count=0,
            sentence=f"{DRIFT}: no votes yet{self._origin.replace('learned', 'to be learned')}; {so_far}",
            rising_since=None, rising_count=0, bound_low=0.0, bound_high=1.0,
            pairs_needed=max(needed, 1) + self._learn - len(self._rows), certified=False, soft=True,
        )  # fmt: skip

    def keep(self) -> KeptWatch:
        """Everything `restore` needs to go on."""
        rows = [
            {name: None if math.isnan(value) else value for name, value in row.items()} for row in self._rows
        ]
        return KeptWatch(None if self._guard is None else self._guard.keep(), rows, self._learned)

    def restore(self, kept: KeptWatch) -> None:
        """Go on from `kept` as far as it fits: against another reference, or limit, drift begins anew."""
        if kept.learned and self._guard is None and kept.drift is not None:
            self.refer(kept.drift.references)
            self._learned = True
        if self._guard is None:
            self._rows = list(map(numbers, kept.rows[: self._learn]))
        elif kept.drift is not None and self._guard.fits(kept.drift):
            self._guard.restore(kept.drift)

    @property
    def _origin(self) -> str:
        return f"; no reference file: learned from the first {sentences.count(self._learn)} requests"

    def _to_learn(self, requests: Sequence[Request], now: float) -> tuple[Row, ...]:
        spoken = [one for one in requests if one.columns]
        admitted = self._votes.admit_all([one.unit for one in spoken], [1] * len(spoken), now)
        most = min(MOST_FEATURES, MOST_LEARNED // self._learn)
        found: list[Row] = []
        for one, granted in zip(spoken, admitted, strict=True):
            rows = min(len(column) for column in one.columns.values())
            if granted and rows:
                place = (len(self._rows) + len(found)) % rows
                names = list(one.columns)[:most]
                found.append({name: _finite(float(one.columns[name][place])) for name in names})
        return tuple(found)


def _finite(value: float) -> float:
    """What can be kept as JSON: infinity is the largest number there is."""
    return max(-sys.float_info.max, min(value, sys.float_info.max)) if math.isinf(value) else value
