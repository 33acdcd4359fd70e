"""Numbers that only grow, added up from what workers and judges report; `control.metrics` exposes them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.routing import Arm
from killswitch.signals import JudgedPair
from shadow.wire import LATENCY_BOUNDS, OVERHEAD_BOUNDS, Batch

MOST_CLASSES = 100
"""Classes per version with a label of their own; the others are counted as `other`."""

MOST_REASONS = 32

SCORE_BOUNDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
TRIP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
RECOVERY_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

MIRROR_OUTCOMES = frozenset({"paired", "dropped", "failed", "timeout"})

Key = tuple[str, ...]


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound (one more than there are bounds: the rest), and the sum of what was counted."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, counts: Sequence[int], total: float) -> bool:
        """Add another's counts; False when it has other bounds."""
        if len(counts) != len(self.counts):
            return False
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, counts, strict=True)]
        self.total += total
        return True


class Histograms:
    """Histograms with the same bounds, by labels."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.by_labels: dict[Key, Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        return self.by_labels.setdefault(labels, Histogram(self.bounds))


class Tallies:
    """Everything that counts up. Labels come from the configuration or bounded sets, never from clients."""

    def __init__(self) -> None:
        self.requests: Counter[Key] = Counter()
        self.durations = Histograms(LATENCY_BOUNDS)
        self.overhead = Histograms(OVERHEAD_BOUNDS)
        self.mirrors: Counter[Key] = Counter()
        self.dropped: Counter[str] = Counter()
        self.scores = Histograms(SCORE_BOUNDS)
        self.confidence = Histograms(SCORE_BOUNDS)
        self.flips: Counter[Key] = Counter()
        self.pairs: Counter[Key] = Counter()
        self.predictions: Counter[Key] = Counter()
        self.unread: Counter[Key] = Counter()
        self.trips: Counter[Key] = Counter()
        self.trip_seconds = Histograms(TRIP_BOUNDS)
        self.recovery_seconds = Histograms(RECOVERY_BOUNDS)
        self.task_failures: Counter[str] = Counter()
        self._endpoints: set[str] = set()
        self._versions: set[str] = set()
        self._classes: Counter[Key] = Counter()

    def know(self, endpoint: str, versions: Sequence[str]) -> None:
        """Labels that may come from workers: whatever was ever configured."""
        self._endpoints.add(endpoint)
        self._versions.update(versions)

    def batch(self, batch: Batch) -> None:
        """Add a worker's deltas."""
        for one in batch.requests:
            known = one.endpoint in self._endpoints and one.version in self._versions
            if not known or one.requests < 0:
                self._drop("unknown endpoint", one.requests)
                continue
            status = str(one.status) if 100 <= one.status <= 599 else "0"
            self.requests[one.endpoint, one.version, _arm(one.arm), status] += one.requests
            self.durations.of(one.endpoint, one.version, _arm(one.arm)).merge(one.buckets, one.seconds)
        for timing in batch.overhead:
            if timing.endpoint in self._endpoints:
                self.overhead.of(timing.endpoint).merge(timing.buckets, timing.seconds)
        for mirror in batch.mirrors:
            if mirror.endpoint in self._endpoints and mirror.outcome in MIRROR_OUTCOMES:
                self.mirrors[mirror.endpoint, mirror.outcome] += max(0, mirror.count)
        for reason, count in batch.dropped.items():
            self._drop(reason, count)

    def judged(self, endpoint: str, judged: JudgedPair) -> None:
        """Count a pair that is evidence."""
        pair, found = judged.pair, judged.divergence
        incumbent, candidate = pair.incumbent.version, pair.candidate.version
        self.pairs[endpoint, candidate] += 1
        if found is None:
            return
        self.scores.of(endpoint, candidate).add(found.score)
        self.flips[endpoint, candidate] += found.flip
        for version, confidence, label in (
            (incumbent, found.incumbent_confidence, found.incumbent_label),
            (candidate, found.candidate_confidence, found.candidate_label),
        ):
            if confidence is not None:
                self.confidence.of(endpoint, version).add(confidence)
            if label is not None:
                self.predictions[self._class(endpoint, version, label)] += 1

    def unreadable(self, endpoint: str, arm: Arm) -> None:
        """Count an answer that the comparator could not read."""
        self.unread[endpoint, arm.value] += 1

    def stale(self) -> None:
        """Count a pair that is no evidence of the trial."""
        self.dropped["stale"] += 1

    def _class(self, endpoint: str, version: str, label: str) -> Key:
        key = (endpoint, version, label)
        if key in self.predictions:
            return key
        if self._classes[endpoint, version] >= MOST_CLASSES or len(label) > 100:
            return (endpoint, version, "other")
        self._classes[endpoint, version] += 1
        return key

    def _drop(self, reason: str, count: int) -> None:
        short = len(reason) <= 40 and (reason in self.dropped or len(self.dropped) < MOST_REASONS)
        self.dropped[reason if short else "other"] += max(0, count)


def _arm(arm: str) -> str:
    return arm if arm in (Arm.INCUMBENT, Arm.CANDIDATE) else "none"
