"""What is measured of guards and labels. Names and labels: docs/metrics.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.judge import Judge
from control.metrics import histogram
from control.switchboard import Switchboard

_GUARD = ("endpoint", "guard")


class GuardMetrics(Collector):
    """How every guard of every endpoint stands, how far features drifted, how late labels come."""

    def __init__(
        self, switchboard: Switchboard, profiled: Callable[[str], Mapping[str, float]] = lambda name: {}
    ) -> None:
        """`profiled` has how far each feature of an endpoint is from the profile of its requests, where
        there is one; without, it is told as far as a trial has seen."""
        self._board = switchboard
        self._profiled = profiled

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        families = _Families()
        for name, judge in self._board.judges.items():
            families.add(name, judge)
        yield from families.all()
        drift = _gauge("feature_drift", "Total variation from the reference.", ("endpoint", "feature"))
        for name, judge in self._board.judges.items():
            for feature, shift in (self._profiled(name) or judge.guards.drifts()).items():
                drift.add_metric((name, feature), shift)
        yield drift
        yield self._delays()

    def _delays(self) -> Metric:
        delays = self._board.tallies.label_delays
        return histogram("label_delay_seconds", "From a request to its label.", ("endpoint",), delays)


class _Families:
    """The gauges with a sample a guard."""

    def __init__(self) -> None:
        self._evidence = _gauge("guard_evidence_log10", "log10 of the e-value.", _GUARD)
        self._estimate = _gauge("guard_estimate", "The signal's mean.", _GUARD)
        self._low = _gauge("guard_bound_low", "Lower 95 % bound of the mean, valid at every look.", _GUARD)
        self._high = _gauge("guard_bound_high", "Upper 95 % bound of the mean, valid at every look.", _GUARD)
        self._verdict = _gauge("guard_verdict", "0 pass, 1 inconclusive, 2 error, 3 fail.", _GUARD)
        self._votes = _gauge("guard_votes", "Votes counted.", _GUARD)
        self._needed = _gauge("guard_pairs_needed", "Votes still missing for a pass.", _GUARD)

    def add(self, name: str, judge: Judge) -> None:
        for report in judge.reports():
            labels = (name, report.guard)
            self._evidence.add_metric(
                labels, math.log10(report.evidence) if report.evidence > 0 else -math.inf
            )
            self._estimate.add_metric(labels, report.estimate)
            self._low.add_metric(labels, report.bound_low)
            self._high.add_metric(labels, report.bound_high)
            self._verdict.add_metric(labels, report.verdict.severity)
            self._votes.add_metric(labels, report.count)
            needed = report.pairs_needed
            self._needed.add_metric(labels, math.inf if needed is None else needed)

    def all(self) -> Iterator[Metric]:
        yield from (self._evidence, self._estimate, self._low, self._high)
        yield from (self._verdict, self._votes, self._needed)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pointsman_{name}", text, labels=labels)
