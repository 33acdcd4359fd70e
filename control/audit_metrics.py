"""What is measured of the audit chain. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.audit_heads import HeadKeeper
from control.audit_recorder import Recorder


class AuditMetrics(Collector):
    """Whether what happens is recorded, and whether the chain leads through its signed heads."""

    def __init__(self, recorder: Recorder, heads: HeadKeeper) -> None:
        self._recorder = recorder
        self._heads = heads

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        recorder, heads = self._recorder, self._heads
        yield CounterMetricFamily(
            "pointsman_audit_records", "Records that this gateway appended.", value=recorder.recorded
        )
        yield CounterMetricFamily(
            "pointsman_audit_late_records", "Of them, those that came late.", value=recorder.late
        )
        yield CounterMetricFamily(
            "pointsman_audit_lost_events", "Events given up because too many waited.", value=recorder.lost
        )
        yield GaugeMetricFamily(
            "pointsman_audit_waiting_events", "Events that are not durable yet.", value=recorder.waiting
        )
        yield GaugeMetricFamily(
            "pointsman_audit_head_size", "Records that the last signed head covers.",
            value=0 if heads.last is None else heads.last.size,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "pointsman_audit_intact", "0 where the chain does not lead through its last head.",
            value=float(heads.problem is None),
        )  # fmt: skip
