"""All metrics of the gateway, collected when asked: workers push deltas, nobody else keeps a registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from control.exposition import HistogramsFamily
from control.hearing import Hearing
from control.switchboard import Switchboard
from control.tallies import Histograms, Key
from domain.routing import FULL_WEIGHT

ENDPOINT = ("endpoint",)
VERSION = ("endpoint", "version")


class Metrics(Collector):
    """Exposes what switchboard, judges and tallies hold. Names and labels: docs/metrics.md."""

    def __init__(self, switchboard: Switchboard, hearing: Hearing, *more: Collector) -> None:
        self._board = switchboard
        self._hearing = hearing
        self._more = more

    def collect(self) -> Iterator[Metric]:
        """Every metric, now."""
        yield from self._traffic()
        yield from self._predictions()
        yield from self._trips()
        yield from self._states()
        yield from self._process()
        for collector in self._more:
            yield from collector.collect()

    def _traffic(self) -> Iterator[Metric]:
        tallies = self._board.tallies
        yield _counter(
            "requests", "Requests answered.", (*VERSION, "arm", "status"), tallies.requests.items()
        )
        yield histogram(
            "request_duration_seconds",
            "Request to last byte of the answer.",
            (*VERSION, "arm"),
            tallies.durations,
        )
        yield histogram(
            "gateway_overhead_seconds", "Time added by the gateway itself.", ENDPOINT, tallies.overhead
        )
        yield _counter(
            "mirrors", "Mirrored requests by outcome.", (*ENDPOINT, "outcome"), tallies.mirrors.items()
        )

    def _predictions(self) -> Iterator[Metric]:
        tallies = self._board.tallies
        yield _counter("pairs", "Pairs that count as evidence.", VERSION, tallies.pairs.items())
        yield _counter("flips", "Pairs whose predictions differ for a user.", VERSION, tallies.flips.items())
        yield histogram("divergence_score", "Divergence of a pair, 0 to 1.", VERSION, tallies.scores)
        yield histogram("confidence", "Confidence of predictions.", VERSION, tallies.confidence)
        yield _counter(
            "predictions", "Predictions by class.", (*VERSION, "class"), tallies.predictions.items()
        )
        yield _counter(
            "unreadable_answers",
            "Answers that could not be compared.",
            (*ENDPOINT, "arm"),
            tallies.unread.items(),
        )

    def _trips(self) -> Iterator[Metric]:
        tallies = self._board.tallies
        yield _counter("trips", "Trips of the kill switch.", (*ENDPOINT, "cause"), tallies.trips.items())
        yield histogram("trip_seconds", "Breach to last confirmation.", ENDPOINT, tallies.trip_seconds)
        yield histogram(
            "recovery_seconds",
            "Estimated first bad pair to last bad answer served.",
            (*ENDPOINT, "cause"),
            tallies.recovery_seconds,
        )

    def _states(self) -> Iterator[Metric]:
        board = self._board
        tripped = _gauge("killswitch_tripped", "1 when the candidate is out.", ENDPOINT)
        kills = _gauge("killswitch_kills", "Kills in force.", ENDPOINT)
        stage = _gauge("release_stage", "Stage of the release plan; -1 before it.", VERSION)
        weight = _gauge("candidate_weight", "Share for the candidate, 0 to 1; 0 when out.", VERSION)
        for name, judge in board.judges.items():
            tripped.add_metric((name,), float(board.tripped(name)))
            kills.add_metric((name,), len(board.kill_state(name).uncleared))
            stage.add_metric((name, judge.candidate), judge.progress.stage)
            share = board.snapshot.endpoint(name).weight / FULL_WEIGHT
            weight.add_metric((name, judge.candidate), share)
        yield from (tripped, kills, stage, weight)

    def _process(self) -> Iterator[Metric]:
        board = self._board
        generation = _gauge("snapshot_generation", "The generation that a worker serves from.", ("worker",))
        for worker in board.link.workers:
            generation.add_metric((str(worker.number),), worker.generation)
        yield generation
        dropped = Counter(board.tallies.dropped)
        dropped["backlog"] += self._hearing.inbox.shed
        yield _counter(
            "observations_dropped",
            "Observations that did not become evidence.",
            ("reason",),
            (((reason,), count) for reason, count in dropped.items()),
        )
        events = (((event,), count) for event, count in board.tallies.events.items())
        yield _counter("gateway_events", "What happened to clients' connections.", ("event",), events)
        yield _gauge("backlog_pairs", "Pairs that wait to be judged.", (), len(self._hearing.inbox))
        yield _counter(
            "link_faults", "Worker connections cut for what they sent.", (), [((), board.link.faults)]
        )
        yield _counter("store_failures", "Failed calls of the store.", (), [((), board.keeper.failures)])
        yield _gauge("kills_not_durable", "Kills applied and not on disk yet.", (), board.keeper.unkept)
        failures = (((task,), count) for task, count in board.tallies.task_failures.items())
        yield _counter("task_failures", "Background tasks that ended by an error.", ("task",), failures)
        info = _gauge("build_info", "Always 1.", ("version", "config_digest"))
        info.add_metric((version("pointsman"), board.settings.digest), 1)
        yield info


def _gauge(name: str, text: str, labels: tuple[str, ...], value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"pointsman_{name}", text, value=value, labels=None if value is not None else labels
    )


def _counter(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[Key, float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"pointsman_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def histogram(name: str, text: str, labels: tuple[str, ...], values: Histograms) -> HistogramsFamily:
    """`values` as a family; `name` without the prefix."""
    return HistogramsFamily(f"pointsman_{name}", text, labels, values)
