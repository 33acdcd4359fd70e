"""The pairs that people may look at: the latest, and the worst ones by what each guard watches."""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from domain.observation import Observation, Outcome
from killswitch.columns import JudgedPair

MOST = 200
FEW = 50
LONGEST_BODY = 16 * 1024


class Shown(NamedTuple):
    """A judged pair with bodies of at most LONGEST_BODY bytes, and the lengths they had."""

    judged: JudgedPair
    incumbent_length: int
    candidate_length: int

    @property
    def score(self) -> float:
        """How divergent, in [0, 1]; 0 when nothing was compared."""
        return 0.0 if self.judged.divergence is None else self.judged.divergence.score


class Measure(enum.StrEnum):
    """By what a pair can be among the worst: what it adds to the guards that watch the same."""

    DIVERGENCE = "divergence"
    ERRORS = "errors"
    LATENCY = "latency"
    CONFIDENCE = "confidence"


BY_GUARD = {
    "divergence": Measure.DIVERGENCE,
    "flips": Measure.DIVERGENCE,
    "noise_corrected_divergence": Measure.DIVERGENCE,
    "noise_corrected_flips": Measure.DIVERGENCE,
    "classes": Measure.DIVERGENCE,
    "accuracy": Measure.DIVERGENCE,
    "errors": Measure.ERRORS,
    "latency_p95": Measure.LATENCY,
    "latency_p99": Measure.LATENCY,
    "latency_slo": Measure.LATENCY,
    "confidence": Measure.CONFIDENCE,
}
"""Guards that speak of pairs. Others are of counts, or of requests."""

Badness = Callable[[JudgedPair], float]


class Showcase:
    """At most `MOST` pairs of each kind, and `FEW` by each other measure than divergence."""

    def __init__(self) -> None:
        self._latest: deque[Shown] = deque(maxlen=MOST)
        self._worst = {measure: _Worst(bad) for measure, bad in _BADNESS.items()}

    def put(self, judged: Sequence[JudgedPair]) -> None:
        """Show `judged` as the latest, and those among the worst that are."""
        self._latest.extend(map(_shown, judged[-MOST:]))
        for worst in self._worst.values():
            worst.put(judged)

    def latest(self, count: int) -> list[Shown]:
        """Newest first."""
        return list(self._latest)[: -count - 1 : -1]

    def worst(self, count: int, measure: Measure = Measure.DIVERGENCE) -> list[Shown]:
        """Worst first; of equals the newer first."""
        return self._worst[measure].first(count)


class _Worst:
    """Those with the largest `bad`, which is 0 or less for a pair that is not bad at all."""

    def __init__(self, bad: Badness) -> None:
        self._bad = bad
        self._most = MOST if bad is _score else FEW
        self._found: list[tuple[float, int, Shown]] = []
        self._count = 0

    def put(self, judged: Sequence[JudgedPair]) -> None:
        found, bad, most, number = self._found, self._bad, self._most, self._count
        least = found[0][0] if len(found) == most else 0.0
        for one in judged:
            number += 1
            value = bad(one)
            # Written so that no number (NaN) is not bad.
            if not (value > 0 and value >= least):
                continue
            entry = (value, number, _shown(one))
            if len(found) < most:
                heapq.heappush(found, entry)
            else:
                heapq.heapreplace(found, entry)
            least = found[0][0] if len(found) == most else 0.0
        self._count = number

    def first(self, count: int) -> list[Shown]:
        return [shown for _, _, shown in heapq.nlargest(count, self._found)]


def _score(one: JudgedPair) -> float:
    return 0.0 if one.divergence is None else one.divergence.score


def _failed(one: JudgedPair) -> float:
    """Only the candidate failed. Where predictions were compared, both answered."""
    if one.divergence is not None:
        return 0.0
    return float(one.pair.candidate.failed and not one.pair.incumbent.failed)


def _slower(one: JudgedPair) -> float:
    """By how many seconds, where both say how fast they are."""
    incumbent, candidate = one.pair.incumbent, one.pair.candidate
    slower = candidate.latency - incumbent.latency
    return slower if slower > 0 and incumbent.outcome in _TIMED and candidate.outcome in _TIMED else 0.0


def _surer(one: JudgedPair) -> float:
    """By how much the confidence differs, either way."""
    found = one.divergence
    if found is None or found.incumbent_confidence is None or found.candidate_confidence is None:
        return 0.0
    return abs(found.candidate_confidence - found.incumbent_confidence)


_BADNESS: dict[Measure, Badness] = {
    Measure.DIVERGENCE: _score,
    Measure.ERRORS: _failed,
    Measure.LATENCY: _slower,
    Measure.CONFIDENCE: _surer,
}
_TIMED = frozenset({Outcome.ANSWERED, Outcome.OVERSIZE, Outcome.TIMEOUT})


def _shown(judged: JudgedPair) -> Shown:
    pair = judged.pair
    lengths = len(pair.incumbent.body), len(pair.candidate.body)
    repeat = pair.repeat
    if max(lengths) > LONGEST_BODY or pair.request or (repeat is not None and repeat.body):
        pair = pair._replace(
            incumbent=_cut(pair.incumbent), candidate=_cut(pair.candidate), request=b"",
            repeat=None if repeat is None else repeat._replace(body=b""),
        )  # fmt: skip
        judged = replace(judged, pair=pair)
    return Shown(judged, *lengths)


def _cut(observation: Observation) -> Observation:
    if len(observation.body) <= LONGEST_BODY:
        return observation
    return observation._replace(body=observation.body[:LONGEST_BODY])
