"""What is measured of the flags' source. Names and labels: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.flag_platform import FlagPlatform
from control.rollouts import Rollouts
from control.writeback import WriteBack


class FlagMetrics(Collector):
    """Ages and counts; those of an Unleash server have no samples where flags come from a file."""

    def __init__(self, platform: FlagPlatform, write_back: WriteBack, rollouts: Rollouts) -> None:
        self._platform = platform
        self._write_back = write_back
        self._rollouts = rollouts

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        stale = self._platform.stale is not None
        yield GaugeMetricFamily("pointsman_flags_stale", "1 while the source gives nothing good.", stale)
        confirmed = GaugeMetricFamily(
            "pointsman_flags_confirmed_age_seconds", "Since Unleash confirmed them."
        )
        changed = GaugeMetricFamily("pointsman_flags_changed_age_seconds", "Since the flags changed.")
        fetches = CounterMetricFamily("pointsman_flag_fetches", "Fetches by outcome.", labels=("outcome",))
        desk = self._platform.unleash
        if desk is not None:
            confirmed.add_metric((), desk.flags.confirmed_age)
            if desk.flags.changed_age is not None:
                changed.add_metric((), desk.flags.changed_age)
            for outcome, count in desk.flags.fetches.items():
                fetches.add_metric((outcome,), count)
        yield from (confirmed, changed, fetches)
        evaluations = CounterMetricFamily(
            "pointsman_flag_evaluations", "Units that a flag platform was asked about.", labels=("outcome",)
        )
        if self._platform.lookup is not None:
            for outcome, count in self._platform.lookup.evaluations.items():
                evaluations.add_metric((outcome,), count)
        yield evaluations
        backs = CounterMetricFamily(
            "pointsman_flag_write_backs", "Flags switched off in Unleash by outcome.", labels=("outcome",)
        )
        for outcome, count in self._write_back.outcomes.items():
            backs.add_metric((outcome,), count)
        yield backs
        rollouts = CounterMetricFamily(
            "pointsman_flag_rollouts", "Rollouts written to Unleash by outcome.", labels=("outcome",)
        )
        for outcome, count in self._rollouts.outcomes.items():
            rollouts.add_metric((outcome,), count)
        yield rollouts
