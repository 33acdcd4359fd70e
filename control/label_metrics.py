"""What is measured of labels and of accuracy. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.accuracy import AccuracyDesk
from control.clock import Clock
from control.judge import Judge
from control.labelling import LabelDesk
from control.switchboard import Switchboard

_VERSION = ("endpoint", "version", "cohort")
_GAUGES = {
    "accuracy": ("accuracy", "Share of right predictions."),
    "log_loss": ("log_loss", "Mean log loss of the class that was named."),
    "calibration_error": ("calibration_error", "Expected calibration error of the class that was named."),
    "auc": ("auc", "Area under the curve, of two classes."),
    "mae": ("absolute_error", "Mean absolute error of numbers."),
    "rmse": ("rms_error", "Root mean squared error of numbers."),
    "labels": ("accuracy_labels", "Labelled rows that accuracy is told from."),
}


class LabelMetrics(Collector):
    """What became of labels, and how accurate every version is."""

    def __init__(self, board: Switchboard, desk: LabelDesk, accuracy: AccuracyDesk, clock: Clock) -> None:
        self._board = board
        self._desk = desk
        self._accuracy = accuracy
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        yield from self._figures()
        desk = self._desk
        labels = GaugeMetricFamily(
            "pointsman_labels", "Labels joined with the log.", labels=("endpoint", "outcome")
        )
        age = GaugeMetricFamily(
            "pointsman_label_newest_age_seconds", "Since a label came last.", labels=("endpoint",)
        )
        for endpoint, counts in desk.counts.items():
            labels.add_metric((endpoint, "joined"), counts.joined)
            labels.add_metric((endpoint, "unfit"), counts.unfit)
            labels.add_metric((endpoint, "corrected"), counts.corrected)
            age.add_metric((endpoint,), max(0.0, self._clock.wall() - counts.newest))
        yield from (labels, age)
        yield GaugeMetricFamily(
            "pointsman_labels_waiting", "Labels whose record was not found.", desk.waiting
        )
        yield GaugeMetricFamily("pointsman_labels_behind", "Labels kept and not looked at yet.", desk.behind)
        yield GaugeMetricFamily(
            "pointsman_label_join_up", "1 while labels are joined.", float(desk.failure is None)
        )

    def _figures(self) -> Iterator[Metric]:
        families = {
            figure: GaugeMetricFamily(f"pointsman_{name}", text, labels=_VERSION)
            for figure, (name, text) in _GAUGES.items()
        }
        told = set()
        for endpoint, version, cohort, figures in self._accuracy.recent:
            told.add(endpoint)
            for figure, family in families.items():
                value = figures.get(figure)
                if isinstance(value, int | float):
                    family.add_metric((endpoint, version, cohort or "all"), value)
        for name, judge in self._board.judges.items():
            if name not in told:
                _of_trial(families["accuracy"], name, judge)
        yield from families.values()


def _of_trial(accuracy: GaugeMetricFamily, name: str, judge: Judge) -> None:
    """Where nothing is recorded: what labels said of the trial's pairs."""
    for cohort, (count, incumbent, candidate) in judge.accuracy.counts.items():
        shown = cohort or "all"
        accuracy.add_metric((name, judge.settings.incumbent.name, shown), incumbent / count)
        accuracy.add_metric((name, judge.candidate, shown), candidate / count)
