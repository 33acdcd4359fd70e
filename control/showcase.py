"""The pairs that people may look at: the most divergent ones, and the latest."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from domain.observation import Observation
from killswitch.columns import JudgedPair

MOST = 200
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


class Showcase:
    """At most `MOST` pairs of each kind."""

    def __init__(self) -> None:
        self._latest: deque[Shown] = deque(maxlen=MOST)
        self._worst: list[tuple[float, int, Shown]] = []
        self._count = 0

    def put(self, judged: Sequence[JudgedPair]) -> None:
        """Show `judged` as the latest, and those among the worst that are."""
        self._latest.extend(map(_shown, judged[-MOST:]))
        worst = self._worst
        for one in judged:
            self._count += 1
            score = 0.0 if one.divergence is None else one.divergence.score
            if not score or (len(worst) == MOST and score < worst[0][0]):
                continue
            entry = (score, self._count, _shown(one))
            if len(worst) < MOST:
                heapq.heappush(worst, entry)
            else:
                heapq.heapreplace(worst, entry)

    def latest(self, count: int) -> list[Shown]:
        """Newest first."""
        return list(self._latest)[: -count - 1 : -1]

    def worst(self, count: int) -> list[Shown]:
        """Most divergent first; of equals the newer first."""
        return [shown for _, _, shown in heapq.nlargest(count, self._worst)]


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
