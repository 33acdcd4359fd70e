"""What is measured of drills. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.drilling import DrillDesk
from control.switchboard import Switchboard
from gates.drill import Phase

_ENDPOINT = ("endpoint",)
OUTCOMES = (Phase.PASSED.value, Phase.FAILED.value)


class DrillMetrics(Collector):
    """How the last drill of each endpoint went, and whether one is overdue."""

    def __init__(self, switchboard: Switchboard, desk: DrillDesk) -> None:
        self._board = switchboard
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        running = GaugeMetricFamily(
            "pointsman_drill_running", "1 while a drill is under way.", labels=_ENDPOINT
        )
        overdue = GaugeMetricFamily(
            "pointsman_drill_overdue", "1 while a scheduled drill was due and has not been run.",
            labels=_ENDPOINT,
        )  # fmt: skip
        passed = GaugeMetricFamily(
            "pointsman_drill_passed", "1 where the last drill passed, 0 where it failed.", labels=_ENDPOINT
        )
        began = GaugeMetricFamily(
            "pointsman_drill_timestamp_seconds",
            "When the last drill began, since the epoch.",
            labels=_ENDPOINT,
        )
        recovery = GaugeMetricFamily(
            "pointsman_drill_recovery_seconds",
            "First to last bad answer of the last drill.",
            labels=_ENDPOINT,
        )
        total = CounterMetricFamily("pointsman_drills", "Drills that ended.", labels=(*_ENDPOINT, "outcome"))
        for settings in self._board.settings.endpoints:
            labels = (settings.name,)
            running.add_metric(labels, float(settings.name in self._board.rehearsals))
            overdue.add_metric(labels, float(self._desk.overdue(settings)))
            for outcome in OUTCOMES:
                total.add_metric((settings.name, outcome), self._desk.outcomes[settings.name, outcome])
            last = self._desk.last.get(settings.name)
            if last is None:
                continue
            began.add_metric(labels, last.began)
            if last.report["state"] in OUTCOMES:
                passed.add_metric(labels, float(last.report["state"] == Phase.PASSED.value))
            measured = last.report["recovery_ms"]
            if isinstance(measured, int | float):
                recovery.add_metric(labels, measured / 1000)
        yield from (running, overdue, passed, began, recovery, total)
