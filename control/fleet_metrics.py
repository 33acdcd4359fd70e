"""What is measured of sharing with other replicas. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.membership import Membership
from control.metrics import histogram
from control.switchboard import Switchboard


class FleetMetrics(Collector):
    """Without samples where nothing is shared."""

    def __init__(self, membership: Membership | None, board: Switchboard) -> None:
        self._membership = membership
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        up = GaugeMetricFamily("pointsman_redis_up", "1 while the shared state answers.")
        failures = CounterMetricFamily("pointsman_redis_failures", "Failed calls of the shared state.")
        garbage = CounterMetricFamily("pointsman_shared_garbage", "Messages that are none of ours.")
        leader = GaugeMetricFamily("pointsman_leader", "1 while this replica leads.")
        replicas = GaugeMetricFamily(
            "pointsman_replicas", "Replicas that were there lately.", labels=("configuration",)
        )
        joined = GaugeMetricFamily(
            "pointsman_evidence_log_joined", "1 while evidence is shared.", labels=("endpoint",)
        )
        waiting = GaugeMetricFamily(
            "pointsman_evidence_log_waiting", "Own batches that the log has not shown.", labels=("endpoint",)
        )
        if (shared := self._membership) is not None:
            fleet = shared.fleet
            up.add_metric((), float(fleet.failure is None))
            failures.add_metric((), shared.client.failures)
            garbage.add_metric((), fleet.garbage + shared.evidence.garbage)
            leader.add_metric((), float(fleet.lease.held() is not None))
            strangers = len(fleet.strangers)
            replicas.add_metric(("same",), len(fleet.replicas) - strangers)
            replicas.add_metric(("other",), strangers)
            for name in self._board.judges:
                copy = shared.evidence.copy(name)
                if copy is not None:
                    joined.add_metric((name,), float(copy.following))
                    waiting.add_metric((name,), len(copy.waiting))
        yield from (up, failures, garbage, leader, replicas, joined, waiting)
        yield self._fanout()

    def _fanout(self) -> Metric:
        text = "A kill at another replica to the last confirmation here, by the clocks on the wall."
        return histogram("fanout_seconds", text, ("endpoint",), self._board.tallies.fanout_seconds)
