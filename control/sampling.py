"""Every two seconds: what each endpoint did since, for its history.

All of it is read from what is counted anyway, so no worker and no request has anything to do with it. Rates
come from the tallies. What both arms answered comes from the latest pairs that are shown, 200 at most, that
began within the last ten seconds: the same requests for both, so that latencies can be compared; where an
endpoint has no pairs, because it has no candidate or that is out, the histogram of what clients got gives
them, coarser.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from control.clock import Clock
from control.events import Event, Events
from control.glances import Glances
from control.history import RECENT, Column, History, Mark
from control.judge import Judge
from control.showcase import MOST, Showcase
from control.switchboard import Switchboard
from domain.observation import Pair
from domain.routing import Arm
from killswitch.columns import JudgedPair

PERIOD = RECENT[0]
WINDOW = 10.0
"""Seconds of which pairs tell latencies."""

UNWATCHED = 10.0
WATCHED = 1.0
"""Seconds that a report of a guard may be old: while nobody looks at the endpoint, and while one does."""

ATTENTION = 6.0
"""Seconds after which somebody who asked for an endpoint's history looks at it no more."""

MOST_CLASSES = 6
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MARKED = ("trip", "rearm", "stage", "release", "drill", "follow", "config")


class Counts(NamedTuple):
    """Of an endpoint, so far: by arm how many requests, how many of them failed, and their latencies."""

    requests: Mapping[str, int]
    errors: Mapping[str, int]
    mirrors: int
    latencies: Mapping[str, Sequence[int]]


class Sampler:
    """Keeps the history of every endpoint."""

    def __init__(self, switchboard: Switchboard, events: Events, glances: Glances, clock: Clock) -> None:
        self._board = switchboard
        self._glances = glances
        self._clock = clock
        self.began = clock.wall()
        self._histories: dict[str, History] = {}
        self._before: dict[str, Counts] = {}
        self._taken_at = clock.monotonic()
        self._looked: dict[str, float] = {}
        for kind in MARKED:
            events.react(kind, self._happened)

    def history(self, name: str) -> History:
        """The history of the endpoint `name`, which somebody looks at. Raises UnknownEndpoint."""
        self._board.judge(name)
        self._looked[name] = self._clock.monotonic()
        return self.kept(name)

    def kept(self, name: str) -> History:
        """The same, of a name that is known."""
        return self._histories.setdefault(name, History())

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.sample()

    async def sample(self) -> None:
        """Sample every endpoint once; others get the loop between."""
        now = self._clock.monotonic()
        elapsed, self._taken_at = max(1e-3, now - self._taken_at), now
        counted = self._counted()
        for name in tuple(self._board.judges):
            judge = self._board.trial(name)  # what a drill makes of it is no history
            if judge is not None:
                self._sample(name, judge, counted.get(name, _NONE), elapsed)
            await asyncio.sleep(0)
        for gone in self._histories.keys() - self._board.judges.keys():
            del self._histories[gone]
        self._before = counted

    def _sample(self, name: str, judge: Judge, counts: Counts, elapsed: float) -> None:
        before = self._before.get(name, counts)
        at = self._clock.wall()
        values: dict[Column, float] = {}
        for arm in _ARMS:
            values[arm, "requests"] = (counts.requests.get(arm, 0) - before.requests.get(arm, 0)) / elapsed
            values[arm, "errors"] = (counts.errors.get(arm, 0) - before.errors.get(arm, 0)) / elapsed
        values["mirrors",] = (counts.mirrors - before.mirrors) / elapsed
        tripped = self._board.tripped(name)
        values["tripped",] = float(tripped)
        values["weight",] = 0.0 if tripped else judge.stage.weight / 10_000
        recent = recently(judge.showcase, at - WINDOW)
        values |= of_pairs(recent)
        for arm in _ARMS:
            if (arm, "p50") not in values:
                values |= of_histogram(arm, self._board.tallies.durations.bounds, counts, before)
        looked = self._looked.get(name, -math.inf)
        oldest = WATCHED if self._clock.monotonic() - looked < ATTENTION else UNWATCHED
        for report in self._glances.of(judge, oldest):
            guard = f"{report.guard} {report.cohort}" if report.cohort else report.guard
            values["guards", guard, "estimate"] = report.estimate
            values["guards", guard, "low"] = report.bound_low
            values["guards", guard, "high"] = report.bound_high
            if report.evidence > 0:
                values["guards", guard, "evidence"] = math.log10(report.evidence)
        self.kept(name).put(at, values)

    def _counted(self) -> dict[str, Counts]:
        tallies = self._board.tallies
        requests: dict[str, Counter[str]] = {}
        errors: dict[str, Counter[str]] = {}
        for (name, _, arm, status), count in tallies.requests.items():
            requests.setdefault(name, Counter())[arm] += count
            if status == "0" or status >= "500":
                errors.setdefault(name, Counter())[arm] += count
        latencies: dict[str, dict[str, Sequence[int]]] = {}
        for (name, _, arm), histogram in tallies.durations.by_labels.items():
            of_endpoint = latencies.setdefault(name, {})
            known = of_endpoint.get(arm)
            of_endpoint[arm] = (
                histogram.counts if known is None
                else [one + other for one, other in zip(known, histogram.counts, strict=True)]
            )  # fmt: skip
        mirrors: Counter[str] = Counter()
        for (name, _), count in tallies.mirrors.items():
            mirrors[name] += count
        return {
            name: Counts(requests.get(name, {}), errors.get(name, {}), mirrors[name], latencies.get(name, {}))
            for name in self._board.judges
        }

    def _happened(self, event: Event) -> None:
        name = event.data.get("endpoint")
        text = mark(event)
        at = self._clock.wall()
        names = [name] if isinstance(name, str) else list(self._board.judges)
        for one in names:
            if one in self._board.judges:
                self.kept(one).mark(Mark(at, event.kind, text))


_ARMS = (Arm.INCUMBENT.value, Arm.CANDIDATE.value)
_NONE = Counts({}, {}, 0, {})


def recently(showcase: Showcase, since: float) -> list[JudgedPair]:
    """The pairs that are shown and began at `since` (wall clock) or later, newest first, 200 at most."""
    return [shown.judged for shown in showcase.latest(MOST) if shown.judged.pair.at >= since]


def of_pairs(judged: Sequence[JudgedPair]) -> dict[Column, float]:
    """What pairs say of both arms: latencies, confidence, class shares, and how far they are apart."""
    values: dict[Column, float] = {}
    if not judged:
        return values
    for arm in _ARMS:
        took = sorted(_latencies([one.pair for one in judged], arm))
        if took:
            values |= {(arm, name): quantile(took, share) for name, share in QUANTILES.items()}
    found = [one.divergence for one in judged if one.divergence is not None]
    if not found:
        return values
    values["divergence",] = sum(one.score for one in found) / len(found)
    values["flips",] = sum(one.flip for one in found) / len(found)
    rows = [row for one in found for row in (one.rows or (one,))]
    for arm, sure, labels in (
        (_ARMS[0], [row.incumbent_confidence for row in rows], [row.incumbent_label for row in rows]),
        (_ARMS[1], [row.candidate_confidence for row in rows], [row.candidate_label for row in rows]),
    ):
        known = [one for one in sure if one is not None]
        if known:
            values[arm, "confidence"] = sum(known) / len(known)
        named = Counter(label for label in labels if label is not None)
        for label, count in named.most_common(MOST_CLASSES):
            values["classes", label, arm] = count / named.total()
    return values


def of_histogram(arm: str, bounds: Sequence[float], counts: Counts, before: Counts) -> dict[Column, float]:
    """Latencies of what clients got from `arm` since, as far as a histogram knows them."""
    now = counts.latencies.get(arm)
    if now is None:
        return {}
    then = before.latencies.get(arm, [0] * len(now))
    new = [one - other for one, other in zip(now, then, strict=True)]
    if sum(new) <= 0:
        return {}
    return {(arm, name): histogram_quantile(bounds, new, share) for name, share in QUANTILES.items()}


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of `ordered` that at least `share` of them do not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def histogram_quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """The same of counts by upper bound (one more than bounds: the rest), evenly spread within a bucket.

    >>> histogram_quantile([1.0, 2.0], [0, 4, 0], 0.5)
    1.5
    """
    wanted = share * sum(counts)
    seen = 0
    for (low, high), count in zip(pairwise((0.0, *bounds)), counts, strict=False):
        if count and seen + count >= wanted:
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return bounds[-1]


def _latencies(pairs: Sequence[Pair], arm: str) -> list[float]:
    observed = (one.incumbent if arm == _ARMS[0] else one.candidate for one in pairs)
    return [one.latency for one in observed if one.ok]


def mark(event: Event) -> str:
    """What a curve says of `event` where it happened."""
    data = event.data
    match event.kind:
        case "trip":
            return f"candidate out: {data.get('cause')}"
        case "rearm":
            return "armed again"
        case "stage":
            weight = data.get("weight")
            share = f" {100 * weight:.4g} %" if isinstance(weight, int | float) and weight > 0 else ""
            return f"stage: {data.get('mode')}{share}"
        case "release":
            return f"release: {data.get('phase')}"
        case "drill":
            return f"drill: {data.get('state')}"
        case kind:
            return kind
