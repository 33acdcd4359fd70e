"""Numbers that only grow, added up from what workers and judges report; `control.metrics` exposes them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from domain.observation import Divergence, Pair, RowFinding
from domain.routing import Arm
from killswitch.columns import JudgedPair
from shadow.wire import LAG_BOUNDS, LATENCY_BOUNDS, OVERHEAD_BOUNDS, Batch, ServerReport, Vitals

MOST_CLASSES = 100
"""Classes per version with a label of their own; the others are counted as `other`."""

MOST_REASONS = 32

MOST_SESSIONS = 256
"""Workers of which the servers' state is remembered; there are at most 128 at a time."""

FEW = 16
"""Values up to which counting them one by one is faster than NumPy."""

SCORE_BOUNDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
TRIP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
DELAY_BOUNDS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0)
RECOVERY_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

CONNECT_FAILURES = frozenset({"refused", "timeout", "tls", "resolve", "unreachable"})
MIRROR_OUTCOMES = frozenset({"paired", "dropped", "failed", "timeout"})

LONGEST_EXEMPLAR = 100
"""Letters of a request id that can be an exemplar: OpenMetrics allows 128 with its name."""

Key = tuple[str, ...]


class Exemplar(NamedTuple):
    """A request that a bucket counts: its id, its value there, and when it began (seconds since 1970)."""

    request_id: str
    value: float
    at: float


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound (one more than there are bounds: the rest), and the sum of what was counted.

    `exemplars` has the latest request that is known of a bucket, by the bucket's place.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_all(self, values: Sequence[float]) -> None:
        """Count many."""
        if len(values) < FEW:
            for value in values:
                self.add(value)
            return
        column = np.array(values)
        places = np.searchsorted(np.array(self.bounds), column)
        added = np.bincount(places, minlength=len(self.counts)).tolist()
        self.merge(added, float(column.sum()))

    def remember(self, exemplar: Exemplar) -> None:
        """Keep `exemplar` for the bucket that counts its value."""
        if exemplar.request_id and len(exemplar.request_id) <= LONGEST_EXEMPLAR:
            self.exemplars[bisect_left(self.bounds, exemplar.value)] = exemplar

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
        found = self.by_labels.get(labels)
        if found is None:
            found = self.by_labels[labels] = Histogram(self.bounds)
        return found


class Tallies:
    """Everything that counts up. Labels come from the configuration or bounded sets, never from clients."""

    def __init__(self) -> None:
        self.requests: Counter[Key] = Counter()
        self.durations = Histograms(LATENCY_BOUNDS)
        self.overhead = Histograms(OVERHEAD_BOUNDS)
        self.mirrors: Counter[Key] = Counter()
        self.dropped: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.scores = Histograms(SCORE_BOUNDS)
        self.confidence = Histograms(SCORE_BOUNDS)
        self.flips: Counter[Key] = Counter()
        self.pairs: Counter[Key] = Counter()
        self.predictions: Counter[Key] = Counter()
        self.unread: Counter[Key] = Counter()
        self.trips: Counter[Key] = Counter()
        self.trip_seconds = Histograms(TRIP_BOUNDS)
        self.fanout_seconds = Histograms(TRIP_BOUNDS)
        self.recovery_seconds = Histograms(RECOVERY_BOUNDS)
        self.task_failures: Counter[str] = Counter()
        self.label_delays = Histograms(DELAY_BOUNDS)
        self.connect_failures: Counter[Key] = Counter()
        self.ejections: Counter[Key] = Counter()
        self.servers: dict[str, dict[str, ServerReport]] = {}
        self.lags: dict[str, Histogram] = {}
        self.vitals: dict[str, Vitals] = {}
        self._servers: set[str] = set()
        self._endpoints: set[str] = set()
        self._versions: set[str] = set()
        self._classes: Counter[Key] = Counter()

    def know(self, endpoint: str, versions: Sequence[str]) -> None:
        """Labels that may come from workers: whatever was ever configured."""
        self._endpoints.add(endpoint)
        self._versions.update(versions)

    def know_servers(self, servers: Iterable[str]) -> None:
        """The same for servers, by their base URLs."""
        self._servers.update(servers)

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
        for event, count in batch.events.items():
            _bounded(self.events, event, count)
        if batch.servers:
            self._report(batch.session, batch.servers)
        if batch.vitals is not None:
            self._feel(batch.session, batch.vitals)

    def _feel(self, session: str, vitals: Vitals) -> None:
        """Add a worker's lag, and keep the rest of its latest vitals."""
        lag = self.lags.pop(session, None) or Histogram(LAG_BOUNDS)
        lag.merge(vitals.buckets, vitals.seconds)
        self.lags[session] = lag
        self.vitals.pop(session, None)
        self.vitals[session] = vitals
        while len(self.vitals) > MOST_SESSIONS:
            session = next(iter(self.vitals))
            del self.vitals[session], self.lags[session]

    def _report(self, session: str, servers: Iterable[ServerReport]) -> None:
        """Keep the latest of a worker's `session`; those of the connected workers are shown."""
        latest: dict[str, ServerReport] = {}
        for one in servers:
            if one.server not in self._servers:
                continue
            latest[one.server] = one
            self.ejections[one.server,] += max(0, one.ejections)
            for kind, count in one.failures.items():
                if kind in CONNECT_FAILURES:
                    self.connect_failures[one.server, kind] += max(0, count)
        self.servers.pop(session, None)
        self.servers[session] = latest
        while len(self.servers) > MOST_SESSIONS:
            del self.servers[next(iter(self.servers))]

    def judged(self, endpoint: str, judged: Sequence[JudgedPair]) -> None:
        """Count pairs that are evidence, all of one trial."""
        if not judged:
            return
        pair = judged[0].pair
        incumbent, candidate = pair.incumbent.version, pair.candidate.version
        self.pairs[endpoint, candidate] += len(judged)
        self._remember(endpoint, judged)
        found = [one.divergence for one in judged if one.divergence is not None]
        if not found:
            return
        self.scores.of(endpoint, candidate).add_all([one.score for one in found])
        self.flips[endpoint, candidate] += sum(one.flip for one in found)
        rows: list[Divergence | RowFinding] = []
        for one in found:
            if one.rows:
                rows.extend(one.rows)
            else:
                rows.append(one)
        self._predicted(
            endpoint, incumbent, [(one.incumbent_confidence, one.incumbent_label) for one in rows]
        )
        self._predicted(
            endpoint, candidate, [(one.candidate_confidence, one.candidate_label) for one in rows]
        )

    def _remember(self, endpoint: str, judged: Sequence[JudgedPair]) -> None:
        """Of many pairs two become exemplars: the slowest answer that was served, and the worst pair."""
        pair = max(judged, key=_served_latency).pair
        version = pair.incumbent.version if pair.served is Arm.INCUMBENT else pair.candidate.version
        served = self.durations.by_labels.get((endpoint, version, pair.served.value))
        if served is not None:
            served.remember(Exemplar(pair.request_id, _latency(pair), pair.at))
        worst = max(judged, key=_score)
        if worst.divergence is not None:
            found = Exemplar(worst.pair.request_id, worst.divergence.score, worst.pair.at)
            self.scores.of(endpoint, worst.pair.candidate.version).remember(found)

    def _predicted(
        self, endpoint: str, version: str, rows: Sequence[tuple[float | None, str | None]]
    ) -> None:
        confidences = [confidence for confidence, _ in rows if confidence is not None]
        if confidences:
            self.confidence.of(endpoint, version).add_all(confidences)
        for label, count in Counter(label for _, label in rows).items():
            if label is not None:
                self.predictions[self._class(endpoint, version, label)] += count

    def labelled(self, endpoint: str, delays: Iterable[float]) -> None:
        """Count labels that were joined, by how many seconds after their request they came."""
        for delay in delays:
            self.label_delays.of(endpoint).add(max(0.0, delay))

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
        _bounded(self.dropped, reason, count)


def _bounded(counts: Counter[str], name: str, count: int) -> None:
    """Count under `name` unless it is long or the names are many already: then under `other`."""
    short = len(name) <= 40 and (name in counts or len(counts) < MOST_REASONS)
    counts[name if short else "other"] += max(0, count)


def _latency(pair: Pair) -> float:
    return pair.incumbent.latency if pair.served is Arm.INCUMBENT else pair.candidate.latency


def _served_latency(one: JudgedPair) -> float:
    return _latency(one.pair)


def _score(one: JudgedPair) -> float:
    return -1.0 if one.divergence is None else one.divergence.score


def _arm(arm: str) -> str:
    return arm if arm in (Arm.INCUMBENT, Arm.CANDIDATE) else "none"
