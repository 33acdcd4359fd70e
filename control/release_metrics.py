"""What is measured of releases. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.following import FollowDesk
from control.releasing import ReleaseDesk
from gates.release import Phase


class ReleaseMetrics(Collector):
    """In which phase the newest release of every endpoint is, who is waited for, and what is not followed."""

    def __init__(self, desk: ReleaseDesk, following: FollowDesk) -> None:
        self._desk = desk
        self._following = following

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        phases = GaugeMetricFamily(
            "pointsman_release_phase", "1 for the phase that the endpoint's newest release is in, else 0.",
            labels=("endpoint", "phase"),
        )  # fmt: skip
        missing = GaugeMetricFamily(
            "pointsman_release_approvals_missing", "People who have to approve before the release goes on.",
            labels=("endpoint",),
        )  # fmt: skip
        stuck = GaugeMetricFamily(
            "pointsman_follow_stuck", "1 while an endpoint does not follow what its registry names.",
            labels=("endpoint",),
        )  # fmt: skip
        for name, found in sorted(self._desk.latest.items()):
            for phase in Phase:
                phases.add_metric((name, phase.value), float(phase is found.phase))
            agreed = self._desk.agreements.get(name)
            missing.add_metric((name,), float(0 if agreed is None else agreed.missing))
        for name in self._following.shown():
            stuck.add_metric((name,), float(name in self._following.problems))
        yield from (phases, missing, stuck)
