"""What the connected workers know of the model servers. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.switchboard import Switchboard
from shadow.wire import ServerReport

RESTING, UNHEALTHY, EJECTED = "resting", "unhealthy", "ejected"


class ServerMetrics(Collector):
    """Labels are the servers' configured base URLs."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._board = switchboard

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        tallies = self._board.tallies
        failures = CounterMetricFamily(
            "pointsman_connect_failures", "Connects that failed.", labels=("server", "kind")
        )
        for key, count in tallies.connect_failures.items():
            failures.add_metric(key, count)
        ejections = CounterMetricFamily(
            "pointsman_server_ejections", "Ejections for answers that failed.", labels=("server",)
        )
        for key, count in tallies.ejections.items():
            ejections.add_metric(key, count)
        out = GaugeMetricFamily(
            "pointsman_server_out", "Workers that know a reason not to ask it.", labels=("server", "reason")
        )
        for (server, reason), count in sorted(self.out().items()):
            out.add_metric((server, reason), count)
        yield from (failures, ejections, out)

    def out(self) -> Counter[tuple[str, str]]:
        """How many connected workers know which reason not to ask a server; 0 where none does."""
        found: Counter[tuple[str, str]] = Counter()
        for worker in self._board.link.workers:
            for server, report in self._board.tallies.servers.get(worker.session, {}).items():
                for reason, holds in reasons(report).items():
                    found[server, reason] += holds
        return found


def reasons(report: ServerReport) -> dict[str, bool]:
    """Why a server is not asked, each with whether it holds."""
    return {RESTING: report.resting, UNHEALTHY: report.healthy is False, EJECTED: report.ejected}
