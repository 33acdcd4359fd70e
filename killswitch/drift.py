"""Feature drift: whether requests still look like those of a reference, feature by feature.

Each feature is cut into bins, of which the reference says what share of the requests lies in each. The claim
is that the total variation between those shares and today's is within the limit. As for class shares, any
set A of bins that was fixed beforehand shows it: x = 1{bin ∈ A} − q(A), with q(A) the reference's share, has
a mean of at most the total variation; A holds the bins that were too full so far.

It is soft. Drift is no fault of the candidate, and taking the candidate out does not end it: it warns, and it
holds a release up, since what was learned on other requests says little about these. It is not latched, and
not certified: it passes with enough votes and an estimate within the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from domain.verdict import Verdict
from killswitch.columns import Whole
from killswitch.evidence import Floats
from killswitch.guard import Guard, GuardReport, KeptGuard, Sight
from killswitch.increments import GuardIncrement
from killswitch.signals import DRIFT, Signal, check
from killswitch.votes import Votes

MOST_FEATURES = 256
MOST_BINS = 1000


@dataclass(frozen=True, slots=True)
class FeatureReference:
    """How a feature was distributed in the reference.

    `edges`, ascending, cut the line into len(edges) + 1 bins; a value at an edge belongs to the bin below
    it. A last bin holds what is no number. `shares`, one for each bin, sum to 1.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises ValueError when bins and shares do not fit."""
        if len(self.shares) != len(self.edges) + 2 or len(self.shares) > MOST_BINS:
            raise ValueError(
                f"feature {self.name}: {len(self.edges)} edges need {len(self.edges) + 2} shares"
            )
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"feature {self.name}: its edges must ascend")
        if not (min(self.shares) >= 0 and math.isclose(sum(self.shares), 1.0, abs_tol=1e-6)):
            raise ValueError(f"feature {self.name}: its shares must be 0 or more and sum to 1")

    def bins(self, values: Floats) -> Whole:
        """The bin of each value."""
        found = np.searchsorted(np.array(self.edges), values)
        return np.where(np.isnan(values), len(self.shares) - 1, found)


class KeptDrift(msgspec.Struct, frozen=True):
    """What survives a restart, by feature."""

    guards: dict[str, KeptGuard]
    counts: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class DriftIncrement:
    """What one batch does to one feature."""

    guard: GuardIncrement
    counts: tuple[int, ...]


class _Feature:
    """One feature's evidence and how often each bin was seen."""

    def __init__(self, reference: FeatureReference, shift: float, threshold: float) -> None:
        self.reference = reference
        self.guard = Guard(check(Signal(DRIFT, shift, -1.0, 1.0)), threshold, certify=None)
        self.shares = np.array(reference.shares)
        self.counts = np.zeros(len(reference.shares), dtype=np.int64)

    @property
    def variation(self) -> float:
        """The total variation so far; 0 without values."""
        seen = self.counts.sum()
        return float(np.maximum(self.counts / seen - self.shares, 0.0).sum()) if seen else 0.0

    def read(self, values: Floats, at: Sequence[float]) -> DriftIncrement:
        bins = self.reference.bins(values)
        over = self.counts > self.shares * self.counts.sum()
        x = over[bins].astype(np.float64) - self.shares[over].sum()
        counts = np.bincount(bins, minlength=len(self.shares))
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

    def read(
        self, units: Sequence[int], values: Floats, at: Sequence[float], now: float
    ) -> dict[str, DriftIncrement]:
        """What requests will do, by feature; `values` is of shape (requests, features), NaN for no number.

        Raises ValueError when there are other features than in the reference.
        """
        if values.shape != (len(units), len(self._features)):
            raise ValueError(f"values of shape {values.shape} are not of {len(self._features)} features")
        admitted = np.array(self._votes.admit_all(units, [1] * len(units), now), dtype=bool)
        when = np.array(at)[admitted].tolist()
        if not when:
            return {}
        return {
            feature.reference.name: feature.read(column, when)
            for feature, column in zip(self._features, values[admitted].T, strict=True)
        }

    def add(self, parts: Sequence[Mapping[str, DriftIncrement]]) -> None:
        """Several parts of one batch."""
        for feature in self._features:
            mine = [part[feature.reference.name] for part in parts if feature.reference.name in part]
            if mine:
                feature.guard.add([one.guard for one in mine])
                feature.counts += np.sum([one.counts for one in mine], axis=0)

    def variations(self) -> dict[str, float]:
        """The total variation of each feature so far."""
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
        return replace(
            report,
            verdict=verdict,
            estimate=worst.variation,
            bound_low=max(0.0, report.bound_low),
            bound_high=1.0,
            sentence=f"feature {name}: {worst.guard.told(verdict, needed, sight, worst.variation)}",
            soft=True,
            cohort=f"feature:{name}",
        )

    def keep(self) -> KeptDrift:
        """Everything `restore` needs to go on."""
        return KeptDrift(
            {one.reference.name: one.guard.keep() for one in self._features},
            {one.reference.name: tuple(one.counts.tolist()) for one in self._features},
        )

    def fits(self, kept: KeptDrift) -> bool:
        """Whether `kept` is of these very features."""
        ours = {one.reference.name: len(one.shares) for one in self._features}
        if {name: len(counts) for name, counts in kept.counts.items()} != ours or set(kept.guards) != set(
            ours
        ):
            return False
        return all(one.guard.fits(kept.guards[one.reference.name]) for one in self._features)

    def restore(self, kept: KeptDrift) -> None:
        """Go on from `kept`, which fits."""
        for feature in self._features:
            feature.guard.restore(kept.guards[feature.reference.name])
            feature.counts = np.array(kept.counts[feature.reference.name], dtype=np.int64)

    @staticmethod
    def _verdict(feature: _Feature, needed: int) -> Verdict:
        guard = feature.guard
        if guard.state.count < max(needed, 1) or guard.log_evidence > 0:
            return Verdict.INCONCLUSIVE
        within = feature.variation <= guard.signal.limit
        return Verdict.PASS if within else Verdict.INCONCLUSIVE
