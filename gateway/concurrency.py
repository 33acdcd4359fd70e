"""How many requests of an endpoint are answered at once: a fixed bound, or one that follows the latency.

By Little's law a server that answers in R seconds with C requests in flight serves C/R requests a second.
Beyond its capacity more in flight only means a longer queue. The adaptive bound finds that point by comparing
the latency of late with the latency of long: while it does not grow the bound rises by a little, when it does
the bound falls in proportion. This is gradient2 of Netflix's concurrency-limits
(github.com/Netflix/concurrency-limits, Gradient2Limit.java and WindowedLimit.java), with its defaults: 1.5
times the long latency is tolerated, 4 requests may queue, and a step is smoothed by 0.2.

Pure: time is an argument.
"""

from __future__ import annotations

TOLERANCE = 1.5
QUEUE = 4
SMOOTHING = 0.2
LONG_WINDOW = 600
"""Windows over which the long latency is averaged."""
WARM_UP = 10
"""Windows after which the average is an exponential one."""
LEAST = 20
MOST = 1000
"""Requests in flight: where the bound stays, whatever the latency; MOST unless configured."""
WINDOW = 1.0
"""Seconds whose latencies make one step, if they are at least WINDOW_REQUESTS."""
WINDOW_REQUESTS = 10
CROWDED = 0.8
"""Share of the bound from which on mirrors are shed."""


class Gradient:
    """The adaptive bound: `limit` after each `step`."""

    __slots__ = ("_least", "_limit", "_long", "_steps", "most")

    def __init__(self, most: int = MOST, least: int = LEAST) -> None:
        self.most = most
        self._least = min(least, most)
        self._limit = float(self._least)
        self._long = 0.0
        self._steps = 0

    @property
    def limit(self) -> int:
        return int(self._limit)

    def step(self, latency: float, in_flight: int) -> int:
        """The bound after a window with this mean latency (seconds, above 0) and most requests in flight."""
        self._average(latency)
        if self._long / latency > 2:  # it was slow for long and is not any more: forget faster
            self._long *= 0.95
        if in_flight < self._limit / 2:  # not what holds requests back
            return self.limit
        gradient = max(0.5, min(1.0, TOLERANCE * self._long / latency))
        aim = self._limit * gradient + QUEUE
        smoothed = self._limit * (1 - SMOOTHING) + aim * SMOOTHING
        self._limit = max(self._least, min(self.most, smoothed))
        return self.limit

    def _average(self, latency: float) -> None:
        self._steps += 1
        if self._steps <= WARM_UP:
            self._long += (latency - self._long) / self._steps
        else:
            self._long += (latency - self._long) * 2 / (LONG_WINDOW + 1)


class Total:
    """Requests that a worker answers at once, over all endpoints. `limit` None: no bound."""

    __slots__ = ("in_flight", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.in_flight = 0

    @property
    def full(self) -> bool:
        return self.limit is not None and self.in_flight >= self.limit


class Gate:
    """Requests of one endpoint that a worker answers at once, and the worker's total."""

    __slots__ = ("_gradient", "_latency", "_most_seen", "_samples", "_since", "_total", "in_flight", "limit")

    def __init__(self, total: Total, limit: int | None = None, *, adaptive: bool = False) -> None:
        self._total = total
        self.in_flight = 0
        self.limit: int | None = None
        self._gradient: Gradient | None = None
        self._since = 0.0
        self._latency = 0.0
        self._samples = 0
        self._most_seen = 0
        self.configure(limit, adaptive=adaptive)

    def __repr__(self) -> str:
        return f"<Gate in_flight={self.in_flight} limit={self.limit} of {self._total.in_flight}>"

    def configure(self, limit: int | None, *, adaptive: bool) -> None:
        """Another bound from now on; what is in flight goes on, and so does what was learned."""
        if not adaptive:
            self._gradient = None
            self.limit = limit
        elif self._gradient is None or self._gradient.most != (limit or MOST):
            self._gradient = Gradient(limit or MOST)
            self.limit = self._gradient.limit

    @property
    def crowded(self) -> bool:
        """So near to a bound that mirrors are better left out."""
        total = self._total
        return (self.limit is not None and self.in_flight >= CROWDED * self.limit) or (
            total.limit is not None and total.in_flight >= CROWDED * total.limit
        )

    def enter(self) -> bool:
        """Whether one more request may be answered now; then `leave` has to be called once."""
        if self._total.full or (self.limit is not None and self.in_flight >= self.limit):
            return False
        self.in_flight += 1
        self._total.in_flight += 1
        if self.in_flight > self._most_seen:
            self._most_seen = self.in_flight
        return True

    def leave(self, now: float, latency: float | None) -> None:
        """A request is over. `latency` in seconds; None when it says nothing about the servers."""
        self.in_flight -= 1
        self._total.in_flight -= 1
        if self._gradient is None or latency is None:
            return
        self._latency += latency
        self._samples += 1
        if now - self._since >= WINDOW and self._samples >= WINDOW_REQUESTS:
            mean = max(self._latency / self._samples, 1e-6)
            self.limit = self._gradient.step(mean, self._most_seen)
            self._since = now
            self._latency = 0.0
            self._samples = 0
            self._most_seen = self.in_flight
