"""What is measured of the prediction log. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.predictions import PredictionDesk
from monitoring.log.wire import Status


class PredictionMetrics(Collector):
    """Whether requests are recorded, what was lost, and how much there is."""

    def __init__(self, desk: PredictionDesk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        """Every metric, now; no samples of what is not known."""
        desk = self._desk
        recorded, lost = desk.counted()
        records = CounterMetricFamily(
            "pointsman_log_records", "Records of the prediction log.", labels=("endpoint", "outcome")
        )
        for key, count in recorded.items():
            records.add_metric(key, count)
        dropped = CounterMetricFamily(
            "pointsman_log_dropped", "Records that were lost.", labels=("endpoint", "reason")
        )
        for key, count in lost.items():
            dropped.add_metric(key, count)
        yield from (records, dropped)
        status = desk.status
        up = GaugeMetricFamily("pointsman_log_up", "1 while the prediction log is written.")
        backlog = GaugeMetricFamily("pointsman_log_backlog_records", "Records that wait for the disk.")
        age = GaugeMetricFamily(
            "pointsman_log_newest_age_seconds", "Since the newest record on disk was made."
        )
        size = GaugeMetricFamily("pointsman_log_bytes", "Bytes of the prediction log.")
        segments = GaugeMetricFamily("pointsman_log_segments", "Files of the prediction log.")
        rolls = CounterMetricFamily("pointsman_log_rolls", "Segments to become Parquet.", labels=("outcome",))
        if desk.wanted:
            up.add_metric((), float(status is not None and not status.failure))
        if status is not None:
            backlog.add_metric((), status.backlog)
            size.add_metric((), status.size)
            segments.add_metric((), status.segments)
            rolls.add_metric(("rolled",), status.rolls[0])
            rolls.add_metric(("failed",), status.rolls[1])
        if (seconds := desk.age()) is not None:
            age.add_metric((), seconds)
        yield from (up, backlog, age, size, segments, rolls)
        yield from _downstream(status)


def _downstream(status: Status | None) -> Iterator[Metric]:
    """What is sent on, archived and traced; samples only of what is configured."""
    sent = CounterMetricFamily(
        "pointsman_log_forwarded_records", "Records that were sent on.", labels=("sink",)
    )
    behind = GaugeMetricFamily(
        "pointsman_log_forward_backlog_records", "Records that wait to be sent on.", labels=("sink",)
    )
    well = GaugeMetricFamily("pointsman_log_forward_up", "1 while records are sent on.", labels=("sink",))
    records = CounterMetricFamily(
        "pointsman_log_archive_records", "Records of the stream.", labels=("outcome",)
    )
    files = CounterMetricFamily("pointsman_log_archive_files", "Files to be archived.", labels=("outcome",))
    up = GaugeMetricFamily("pointsman_log_archive_up", "1 while the stream is archived.")
    waiting = GaugeMetricFamily("pointsman_log_stream_bytes", "Bytes that wait in the stream.")
    spans = CounterMetricFamily("pointsman_spans", "Spans of requests.", labels=("outcome",))
    for one in () if status is None else status.forwards:
        sent.add_metric((one.sink,), one.sent)
        behind.add_metric((one.sink,), one.behind)
        well.add_metric((one.sink,), float(not one.failure))
    archive = None if status is None else status.archive
    if archive is not None:
        records.add_metric(("archived",), archive.records)
        records.add_metric(("unreadable",), archive.unreadable)
        files.add_metric(("written",), archive.files)
        files.add_metric(("failed",), archive.failures)
        up.add_metric((), float(not archive.failure))
        waiting.add_metric((), archive.waiting)
    for outcome, count in () if status is None else status.spans.items():
        spans.add_metric((outcome,), count)
    yield from (sent, behind, well, records, files, up, waiting, spans)
