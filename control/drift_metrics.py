"""What is measured of drift. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.drift_endpoint import LOST, SKEWED, TAKEN
from control.drifting import DriftDesk

MOST_FEATURES = 64
"""Of one endpoint, those that have moved furthest."""

_FEATURE = ("endpoint", "feature")


class DriftMetrics(Collector):
    """How far features and predictions are from their reference, and what was looked at."""

    def __init__(self, desk: DriftDesk) -> None:
        self._desk = desk

    def shifts(self, endpoint: str) -> Mapping[str, float]:
        """The total variation of the endpoint's features in the last day, by name; none without a profile."""
        summary = self._desk.summaries.get(endpoint)
        found = () if summary is None else summary.columns
        return {
            str(one["name"]): _number(one["shift"]) for one in found if one["of"] == "feature" and one["rows"]
        }

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        yield from self._alarms()
        index = _gauge("feature_stability_index", "Population stability index, last day.", _FEATURE)
        missing = _gauge("feature_missing_ratio", "Share of requests without a value, last day.", _FEATURE)
        outside = _gauge("feature_outside_range", "Numbers outside of the range, last day.", _FEATURE)
        unseen = _gauge("feature_new_categories", "Texts that the reference lacks, last day.", _FEATURE)
        said = _gauge("prediction_drift", "Total variation from the reference.", ("endpoint", "column"))
        for name, summary in self._desk.summaries.items():
            features = 0
            for one in summary.columns:
                if not one["rows"]:
                    continue
                column = str(one["name"])
                if one["of"] != "feature":
                    said.add_metric((name, column), _number(one["shift"]))
                    continue
                features += 1
                if features > MOST_FEATURES:
                    continue
                if one["stability_index"] is not None:
                    index.add_metric((name, column), _number(one["stability_index"]))
                missing.add_metric((name, column), _number(one["missing"]))
                outside.add_metric((name, column), _number(one["below"]) + _number(one["above"]))
                new = one["new_categories"]
                unseen.add_metric((name, column), len(new) if isinstance(new, list) else 0)
        yield from (index, missing, outside, unseen, said)

    def _alarms(self) -> Iterator[Metric]:
        rows = CounterMetricFamily(
            "pointsman_drift_requests",
            "Requests drawn from the prediction log.",
            labels=("endpoint", "outcome"),
        )
        alarm = _gauge("drift_alarm", "1 while requests have certainly drifted.", ("endpoint",))
        learning = _gauge("drift_learning", "1 while there is nothing to compare with.", ("endpoint",))
        for name, one in tuple(self._desk.endpoints.items()):
            if not one.settings.log.share:
                continue
            for outcome in (TAKEN, SKEWED, LOST):
                rows.add_metric((name, outcome), one.rows[outcome])
            learning.add_metric((name,), float(one.adopted is None))
            if one.watch is not None:
                alarm.add_metric((name,), float(one.watch.since is not None))
        yield from (rows, alarm, learning)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pointsman_{name}", text, labels=labels)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
