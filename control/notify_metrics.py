"""What is measured of telling receivers. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.clock import Clock
from control.notifying import OUTCOMES, Notifying
from control.switchboard import Switchboard

_RECEIVER = ("receiver",)


class NotifyMetrics(Collector):
    """Whether receivers get what they are told."""

    def __init__(self, notifying: Notifying, board: Switchboard, clock: Clock) -> None:
        self._notifying = notifying
        self._board = board
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        told = self._notifying
        ended = CounterMetricFamily(
            "pointsman_notifications", "Notifications by how they ended.", labels=("receiver", "outcome")
        )
        # All of them from the start: of a sample that was not there before, nobody sees the first increase.
        names = [one.name for one in self._board.settings.notifications]
        known = {(name, outcome): 0 for name in names for outcome in OUTCOMES} | told.outcomes
        for (receiver, outcome), count in sorted(known.items()):
            ended.add_metric((receiver, outcome), count)
        failures = CounterMetricFamily(
            "pointsman_notification_failures", "Attempts to notify that failed.", labels=_RECEIVER
        )
        for receiver, count in sorted((dict.fromkeys(names, 0) | told.failures).items()):
            failures.add_metric((receiver,), count)
        waiting = GaugeMetricFamily(
            "pointsman_notifications_waiting", "Notifications that are not delivered yet.", labels=_RECEIVER
        )
        oldest = GaugeMetricFamily(
            "pointsman_notification_oldest_seconds", "Age of the oldest of them; 0: none waits.",
            labels=_RECEIVER,
        )  # fmt: skip
        since: dict[str, float] = dict.fromkeys(names, 0.0)
        counts: Counter[str] = Counter(since.keys())
        counts.subtract(since.keys())
        now = self._clock.wall()
        for entry in told.waiting.values():
            counts[entry.receiver] += 1
            since[entry.receiver] = max(since.get(entry.receiver, 0.0), now - entry.notice.at)
        for receiver, age in sorted(since.items()):
            waiting.add_metric((receiver,), counts[receiver])
            oldest.add_metric((receiver,), age)
        yield from (ended, failures, waiting, oldest)
