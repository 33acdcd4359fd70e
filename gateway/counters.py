"""Hand-kept metrics: a request costs an append; buckets are filled many at a time, and the
control process does the rest."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict

from shadow.outbox import Counts
from shadow.wire import LATENCY_BOUNDS, OVERHEAD_BOUNDS, MirrorCounts, OverheadCounts, RequestCounts


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

    __slots__ = ("latencies", "statuses")

    def __init__(self) -> None:
        self.latencies: defaultdict[int, list[float]] = defaultdict(list)
        self.statuses: dict[int, Histogram] = {}

    def request(self, status: int, seconds: float) -> None:
        """One answer to a client, `seconds` after its head was read."""
        self.latencies[status].append(seconds)

    def settle(self) -> None:
        """Put what came of late into buckets."""
        for status, latencies in self.latencies.items():
            histogram = self.statuses.get(status)
            if histogram is None:
                histogram = self.statuses[status] = Histogram(LATENCY_BOUNDS)
            histogram.observe_all(latencies)
        self.latencies.clear()


class Counters:
    """What this worker counted since `take` was last called."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._overhead: dict[str, Histogram] = {}
        self._mirrors: dict[tuple[str, str], int] = {}
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

    def mirror(self, endpoint: str, outcome: str) -> None:
        """One mirror that ended as paired, dropped, failed or timeout."""
        key = (endpoint, outcome)
        self._mirrors[key] = self._mirrors.get(key, 0) + 1

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
        mirrors = [MirrorCounts(*key, count) for key, count in self._mirrors.items()]
        for tally in self._tallies.values():
            tally.statuses = {}
        self._overhead, self._mirrors = {}, {}
        return requests, overhead, mirrors
