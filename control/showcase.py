"""The pairs that people may look at: the most divergent ones, and the latest."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, replace

from domain.observation import Observation
from killswitch.signals import JudgedPair

MOST = 200
LONGEST_BODY = 16 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """A judged pair with bodies of at most LONGEST_BODY bytes, and the lengths they had."""

    judged: JudgedPair
    incumbent_length: int
    candidate_length: int

    @property
    def score(self) -> float:
        """How divergent, in [0, 1]; 0 when nothing was compared."""
        return 0.0 if self.judged.divergence is None else self.judged.divergence.score


class Showcase:
    """At most `MOST` pairs of each kind."""

    def __init__(self) -> None:
        self._latest: deque[Shown] = deque(maxlen=MOST)
        self._worst: list[tuple[float, int, Shown]] = []
        self._count = 0

    def put(self, judged: JudgedPair) -> None:
        """Show `judged` as the latest, and among the worst if it is."""
        shown = _shown(judged)
        self._latest.append(shown)
        self._count += 1
        if judged.divergence is None or not shown.score:
            return
        entry = (shown.score, self._count, shown)
        if len(self._worst) < MOST:
            heapq.heappush(self._worst, entry)
        elif entry > self._worst[0]:
            heapq.heapreplace(self._worst, entry)

    def latest(self, count: int) -> list[Shown]:
        """Newest first."""
        return list(self._latest)[: -count - 1 : -1]

    def worst(self, count: int) -> list[Shown]:
        """Most divergent first; of equals the newer first."""
        return [shown for _, _, shown in heapq.nlargest(count, self._worst)]


def _shown(judged: JudgedPair) -> Shown:
    pair = judged.pair
    lengths = len(pair.incumbent.body), len(pair.candidate.body)
    if max(lengths) > LONGEST_BODY:
        pair = pair._replace(incumbent=_cut(pair.incumbent), candidate=_cut(pair.candidate))
        judged = replace(judged, pair=pair)
    return Shown(judged, *lengths)


def _cut(observation: Observation) -> Observation:
    if len(observation.body) <= LONGEST_BODY:
        return observation
    return observation._replace(body=observation.body[:LONGEST_BODY])
