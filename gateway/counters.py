"""Hand-kept metrics: a request costs an append; buckets are filled many at a time, and the
control process does the rest."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict

from shadow.outbox import Counts
from shadow.wire import LATENCY_BOUNDS, OVERHEAD_BOUNDS, MirrorCounts, OverheadCounts, RequestCounts

MIRROR_ENDS = ("paired", "dropped", "failed", "timeout")


class Histogram:
    """Counts per upper bound (seconds) and one above."""

    __slots__ = ("_bounds", "buckets", "count", "seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.count = 0
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(self._bounds, seconds)] += 1
        self.count += 1
        self.seconds += seconds

    def observe_all(self, seconds: list[float]) -> None:
        """The same for many, which are sorted for it."""
        seconds.sort()
        below = 0
        for bucket, bound in enumerate(self._bounds):
            reached = bisect_right(seconds, bound, below)
            self.buckets[bucket] += reached - below
            below = reached
        self.buckets[-1] += len(seconds) - below
        self.count += len(seconds)
        self.seconds += sum(seconds)


class Tally:
    """Answers of one version in one arm, by status.

    `latencies` of late, in seconds, stand as they came: a request costs an append, and `settle` puts them
    into buckets, many at a time.
    """

    __slots__ = ("_last", "_status", "latencies", "statuses")

    def __init__(self) -> None:
        self.latencies: defaultdict[int, list[float]] = defaultdict(list)
        self.statuses: dict[int, Histogram] = {}
        self._status = 0
        self._last = self.latencies[0]

    def request(self, status: int, seconds: float) -> None:
        """One answer to a client, `seconds` after its head was read."""
        if status != self._status:
            self._status = status
            self._last = self.latencies[status]
        self._last.append(seconds)

    def settle(self) -> None:
        """Put what came of late into buckets."""
        for status, latencies in self.latencies.items():
            if not latencies:
                continue
            histogram = self.statuses.get(status)
            if histogram is None:
                histogram = self.statuses[status] = Histogram(LATENCY_BOUNDS)
            histogram.observe_all(latencies)
            latencies.clear()


class Counters:
    """What this worker counted since `take` was last called."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._overhead: dict[str, Histogram] = {}
        self._mirrors: dict[str, dict[str, int]] = {}
        self.refused = self.tally("", "", "")

    def tally(self, endpoint: str, version: str, arm: str) -> Tally:
        """Where the answers of `version` are counted; the same one for the same names."""
        return self._tallies.setdefault((endpoint, version, arm), Tally())

    def overhead(self, endpoint: str, seconds: float) -> None:
        """Time the gateway itself spent on one request."""
        histogram = self._overhead.get(endpoint)
        if histogram is None:
            histogram = self._overhead[endpoint] = Histogram(OVERHEAD_BOUNDS)
        histogram.observe(seconds)

    def mirrors(self, endpoint: str) -> dict[str, int]:
        """Where mirrors are counted, by how they end; the same one for the same name."""
        return self._mirrors.setdefault(endpoint, dict.fromkeys(MIRROR_ENDS, 0))

    def settle(self) -> None:
        """Keep what is counted small, whether anybody takes it or not."""
        for tally in self._tallies.values():
            tally.settle()

    def take(self) -> Counts:
        """Everything counted since the last call."""
        self.settle()
        requests = [
            RequestCounts(*key, status, histogram.count, histogram.buckets, histogram.seconds)
            for key, tally in self._tallies.items()
            for status, histogram in tally.statuses.items()
        ]
        overhead = [
            OverheadCounts(endpoint, histogram.buckets, histogram.seconds)
            for endpoint, histogram in self._overhead.items()
        ]
        mirrors = [
            MirrorCounts(endpoint, end, count)
            for endpoint, counts in self._mirrors.items()
            for end, count in counts.items()
            if count
        ]
        for tally in self._tallies.values():
            tally.statuses = {}
        self._overhead = {}
        for counts in self._mirrors.values():
            counts.update(dict.fromkeys(counts, 0))
        return requests, overhead, mirrors
