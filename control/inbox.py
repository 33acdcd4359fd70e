"""Batches that wait to be judged: each exactly once, and never without limit.

A worker sends a batch again until it hears that it is kept, so a batch may arrive twice. And workers may be
faster than the judge. Beyond its bounds the inbox sheds: it keeps each waiting pair with probability one
half. The draw never looks at what a pair holds, so the guards see a fair sample of what happened, only a
smaller one; the newest or the oldest half would not be fair while something is changing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from domain.observation import Pair
from shadow.wire import Batch, RequestCounts

MOST_PAIRS = 20_000
MOST_BYTES = 256 * 1024 * 1024
MOST_SESSIONS = 10_000


@dataclass(slots=True)
class Waiting:
    """What is left of a batch that waits; `size` counts the bytes of its bodies."""

    session: str
    sequence: int
    pairs: list[Pair]
    size: int
    requests: list[RequestCounts] = field(default_factory=list)


class Inbox:
    """A bounded queue of batches.

    `shed` counts the pairs that the bounds cost, `repeated` the batches that came twice.
    `draw` gives a number in [0, 1).
    """

    def __init__(
        self, draw: Callable[[], float], most_pairs: int = MOST_PAIRS, most_bytes: int = MOST_BYTES
    ) -> None:
        self.shed = 0
        self.repeated = 0
        self._draw = draw
        self._most_pairs = most_pairs
        self._most_bytes = most_bytes
        self._batches: deque[Waiting] = deque()
        self._pairs = 0
        self._bytes = 0
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        """Pairs that wait."""
        return self._pairs

    def restore(self, sequences: Mapping[str, int]) -> None:
        """Take every batch up to these sequences, by session, as seen."""
        for session, sequence in sequences.items():
            self._see(session, sequence)

    def put(self, batch: Batch) -> bool:
        """Queue `batch`; False when it was seen before."""
        if batch.sequence <= self._seen.get(batch.session, 0):
            self.repeated += 1
            return False
        self._see(batch.session, batch.sequence)
        pairs = list(batch.pairs)
        waiting = Waiting(batch.session, batch.sequence, pairs, _size(pairs), batch.requests)
        self._batches.append(waiting)
        self._pairs += len(waiting.pairs)
        self._bytes += waiting.size
        while self._pairs > self._most_pairs or self._bytes > self._most_bytes:
            self._halve()
        self._woken.set()
        return True

    def take(self) -> Waiting | None:
        """The oldest batch, or None when nothing waits."""
        if not self._batches:
            self._woken.clear()
            return None
        waiting = self._batches.popleft()
        self._pairs -= len(waiting.pairs)
        self._bytes -= waiting.size
        return waiting

    def take_many(self, most: int) -> list[Waiting]:
        """The oldest batches, of at most `most` pairs together, or the oldest one; none when none waits."""
        taken: list[Waiting] = []
        pairs = 0
        while self._batches and (not taken or pairs + len(self._batches[0].pairs) <= most):
            waiting = self.take()
            if waiting is not None:
                taken.append(waiting)
                pairs += len(waiting.pairs)
        if not taken:
            self._woken.clear()
        return taken

    async def filled(self) -> None:
        """Return when something waits."""
        await self._woken.wait()

    def _see(self, session: str, sequence: int) -> None:
        self._seen[session] = max(sequence, self._seen.get(session, 0))
        self._seen.move_to_end(session)
        while len(self._seen) > MOST_SESSIONS:
            self._seen.popitem(last=False)

    def _halve(self) -> None:
        before = self._pairs
        for waiting in self._batches:
            waiting.pairs = [pair for pair in waiting.pairs if self._draw() < 0.5]
            waiting.size = _size(waiting.pairs)
        self._pairs = sum(len(waiting.pairs) for waiting in self._batches)
        self._bytes = sum(waiting.size for waiting in self._batches)
        self.shed += before - self._pairs


def _size(pairs: list[Pair]) -> int:
    return sum(pair.size for pair in pairs)
