"""Feature drift: whether requests still look like those of a reference, feature by feature.

Each feature is cut into bins, of which the reference says what share of the requests lies in each. The claim
is that the total variation between those shares and today's is within the limit. As for class shares, any
set A of bins that was fixed beforehand shows it: x = 1{bin ∈ A} − q(A), with q(A) the reference's share, has
a mean of at most the total variation; A holds the bins that were too full lately (LATELY), so that
a drift after a year of healthy requests is seen as soon as one after a day. A may be any set that was fixed
before a vote, so that forgetting costs nothing.

It is soft. Drift is no fault of the candidate, and taking the candidate out does not end it: it warns, and it
holds a release up, since what was learned on other requests says little about these. It is not latched, and
not certified: it passes with enough votes and an estimate within the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from domain.verdict import Verdict
from killswitch.columns import Whole
from killswitch.evidence import Floats
from killswitch.guard import Guard, GuardReport, KeptGuard, Sight
from killswitch.increments import DriftIncrement
from killswitch.references import MOST_FEATURES, FeatureReference
from killswitch.signals import DRIFT, Signal, check
from killswitch.votes import Votes

__all__ = ["MOST_FEATURES", "DriftGuard", "DriftIncrement", "FeatureReference", "KeptDrift"]

GRAIN = 2.0**-16
"""Counts are multiples of this, so that sums of them are exact: a row of a batch is a part of a vote."""


REMEMBERED = 4096
"""Votes that the estimate is of; whenever there are more, all of them count half."""
LATELY = 512
"""The same, of the votes that say which bins are too full."""


class KeptDrift(msgspec.Struct, frozen=True):
    """What survives a restart: what was compared with, and by feature what was found."""

    references: tuple[FeatureReference, ...]
    guards: dict[str, KeptGuard]
    counts: dict[str, tuple[float, ...]]
    recent: dict[str, tuple[float, ...]] = {}


class _Feature:
    """One feature's evidence and how often each bin was seen."""

    def __init__(self, reference: FeatureReference, shift: float, threshold: float) -> None:
        self.reference = reference
        self.guard = Guard(check(Signal(DRIFT, shift, -1.0, 1.0)), threshold, certify=None)
        self.shares = np.array(reference.shares)
        self.counts = np.zeros(len(reference.shares))
        self.recent = np.zeros(len(reference.shares))

    def count(self, counts: Sequence[tuple[float, ...]]) -> None:
        """Votes by bin, of several parts of one batch."""
        votes = np.sum(counts, axis=0)
        self.counts = _within(self.counts + votes, REMEMBERED)
        self.recent = _within(self.recent + votes, LATELY)

    @property
    def variation(self) -> float:
        """The total variation of the last votes; 0 without values."""
        seen = self.counts.sum()
        return float(np.maximum(self.counts / seen - self.shares, 0.0).sum()) if seen else 0.0

    def told(self, report: GuardReport) -> float:
        """The total variation as it is told: in a breach, at least what it was since its estimated begin."""
        if not self.guard.breaches:
            return self.variation
        seen = self.recent.sum()
        lately = float(np.maximum(self.recent / seen - self.shares, 0.0).sum()) if seen else 0.0
        return min(1.0, max(lately, report.estimate))

    def read(self, values: Floats, vote: Whole, rows: Floats, at: Sequence[float]) -> DriftIncrement:
        """`vote` is the vote that each value belongs to, `rows` how many values that vote has."""
        bins = self.reference.bins(values)
        over = self.recent > self.shares * self.recent.sum()
        x = np.bincount(vote, weights=over[bins], minlength=len(rows)) / rows - self.shares[over].sum()
        shares = np.bincount(bins, weights=1 / rows[vote], minlength=len(self.shares))
        counts = np.rint(shares / GRAIN) * GRAIN
        return DriftIncrement(self.guard.read(x, at), tuple(counts.tolist()))


class DriftGuard:
    """All features under one soft guard; each has an equal part of its false-alarm rate."""

    def __init__(
        self, references: Sequence[FeatureReference], shift: float, false_alarm: float, window: float
    ) -> None:
        """Raises ValueError without features, or with too many; ConfigError for an impossible limit."""
        names = {reference.name for reference in references}
        if not 1 <= len(references) <= MOST_FEATURES or len(names) != len(references):
            raise ValueError(f"{len(references)} features: from 1 to {MOST_FEATURES}, each once")
        self.threshold = len(references) / false_alarm
        self._votes = Votes(window)
        self._features = [_Feature(reference, shift, self.threshold) for reference in references]

    @property
    def breaches(self) -> bool:
        """Whether a feature is over its limit now."""
        return any(feature.guard.breaches for feature in self._features)

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in the order of their columns."""
        return tuple(feature.reference.name for feature in self._features)

    @property
    def references(self) -> tuple[FeatureReference, ...]:
        """What is compared with."""
        return tuple(feature.reference for feature in self._features)

    def read(
        self,
        units: Sequence[int],
        values: Floats,
        at: Sequence[float],
        now: float,
        owners: Whole | None = None,
    ) -> dict[str, DriftIncrement]:
        """What requests will do, by feature; `values` is of shape (rows, features), NaN for no number.

        `units` and `at` are of the requests, and `owners` says of which request each row is, ascending; None
        when every request is one row. A request votes with the mean of its rows. Raises ValueError when there
        are other features than in the reference.
        """
        if values.ndim != 2 or values.shape[1] != len(self._features):
            raise ValueError(f"values of shape {values.shape} are not of {len(self._features)} features")
        if owners is None:
            owners = np.arange(len(units))
        if len(owners) != len(values):
            raise ValueError(f"{len(values)} rows of values are not of {len(owners)} requests")
        speaking = np.unique(owners)
        whose = [units[request] for request in speaking.tolist()]
        admitted = np.array(self._votes.admit_all(whose, [1] * len(whose), now), dtype=bool)
        which = np.isin(owners, speaking[admitted])
        votes, vote, rows = np.unique(owners[which], return_inverse=True, return_counts=True)
        when = [at[request] for request in votes.tolist()]
        if not when:
            return {}
        weights = rows.astype(np.float64)
        return {
            feature.reference.name: feature.read(column, vote, weights, when)
            for feature, column in zip(self._features, values[which].T, strict=True)
        }

    def add(self, parts: Sequence[Mapping[str, DriftIncrement]]) -> None:
        """Several parts of one batch."""
        for feature in self._features:
            mine = [part[feature.reference.name] for part in parts if feature.reference.name in part]
            if mine:
                feature.guard.add([one.guard for one in mine])
                feature.count([one.counts for one in mine])

    def variations(self) -> dict[str, float]:
        """The total variation of each feature, of the last votes."""
        return {feature.reference.name: feature.variation for feature in self._features}

    def verdict(self, needed: int, sight: Sight) -> Verdict:
        """FAIL while a feature is over its limit for certain; the worst of all features else."""
        if self.breaches:
            return Verdict.FAIL
        return Verdict.worst(self._verdict(feature, needed) for feature in self._features)

    def report(self, needed: int, sight: Sight) -> GuardReport:
        """The feature with the most evidence; while there is none, the one that drifted most."""
        worst = max(self._features, key=lambda one: (max(0.0, one.guard.log_evidence), one.variation))
        report = worst.guard.report(needed, sight)
        name, verdict = worst.reference.name, self.verdict(needed, sight)
        estimate = worst.told(report)
        return replace(
            report,
            verdict=verdict,
            estimate=estimate,
            bound_low=max(0.0, report.bound_low),
            bound_high=1.0,
            sentence=f"feature {name}: {worst.guard.told(verdict, needed, sight, estimate)}",
            soft=True,
            cohort=f"feature:{name}",
        )

    def keep(self) -> KeptDrift:
        """Everything `restore` needs to go on."""
        return KeptDrift(
            self.references,
            {one.reference.name: one.guard.keep() for one in self._features},
            {one.reference.name: tuple(one.counts.tolist()) for one in self._features},
            {one.reference.name: tuple(one.recent.tolist()) for one in self._features},
        )

    def fits(self, kept: KeptDrift) -> bool:
        """Whether `kept` is of these very features, and compared with the same reference."""
        names = set(self.names)
        if kept.references != self.references or set(kept.guards) != names or set(kept.counts) != names:
            return False
        return all(
            one.guard.fits(kept.guards[one.reference.name])
            and len(kept.counts[one.reference.name]) == len(one.shares)
            for one in self._features
        )

    def restore(self, kept: KeptDrift) -> None:
        """Go on from `kept`, which fits."""
        for feature in self._features:
            feature.guard.restore(kept.guards[feature.reference.name])
            feature.counts = np.array(kept.counts[feature.reference.name])
            lately = np.array(kept.recent.get(feature.reference.name, ()))
            # Before this was kept, or of other bins: what was counted in all will do.
            feature.recent = lately if len(lately) == len(feature.shares) else _within(feature.counts, LATELY)

    @staticmethod
    def _verdict(feature: _Feature, needed: int) -> Verdict:
        guard = feature.guard
        if guard.state.count < max(needed, 1) or guard.log_evidence > 0:
            return Verdict.INCONCLUSIVE
        within = feature.variation <= guard.signal.limit
        return Verdict.PASS if within else Verdict.INCONCLUSIVE


def _within(counts: Floats, most: int) -> Floats:
    """`counts`, halved until there are no more than `most`."""
    while counts.sum() > most:
        counts = np.rint(counts / 2 / GRAIN) * GRAIN
    return counts
