"""What is measured of lineage. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.lineage import LineageDesk
from control.switchboard import Switchboard
from domain.lineage import missing
from domain.routing import Arm

_VERSION = ("endpoint", "version")


class LineageMetrics(Collector):
    """Of which versions it is known what they were made of, and whether that can still be asked."""

    def __init__(self, switchboard: Switchboard, desk: LineageDesk) -> None:
        self._board = switchboard
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        known = GaugeMetricFamily(
            "pointsman_lineage_known", "1 where a version has a lineage record, 0 where it has none.",
            labels=_VERSION,
        )  # fmt: skip
        stale = GaugeMetricFamily(
            "pointsman_lineage_stale", "1 while the registries cannot be asked for it.", labels=_VERSION
        )
        lacking = GaugeMetricFamily(
            "pointsman_lineage_missing_fields", "Fields of the record that are not known.", labels=_VERSION
        )
        for name, judge in self._board.judges.items():
            versions = {Arm.INCUMBENT: judge.settings.incumbent, Arm.CANDIDATE: judge.settings.candidate}
            for arm, version in versions.items():
                if version is None:
                    continue
                held = self._desk.of(name, arm)
                labels = (name, version.name)
                known.add_metric(labels, float(held.record is not None))
                stale.add_metric(labels, float(held.stale_since is not None))
                lacking.add_metric(labels, float(len(missing(held.record))))
        yield from (known, stale, lacking)
