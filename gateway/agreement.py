"""Whether two answers agree, asked while a client waits for one of them.

The control process compares pairs in batches and in its own time; a guarded client cannot wait for that, so
that here a worker compares by itself, with the same code. What that code needs (numpy foremost) is imported
only by workers of which some endpoint is ever guarded, and not on the event loop of one that already serves.

A comparison takes from a tenth of a millisecond to most of a second, by the size of the answers and the kind.
Equal bytes need none. Small answers are compared on the event loop, all together that came in one turn of it:
together they take a quarter of the time. Larger ones are compared in a thread beside it, a few at a time, and
by the client's deadline: neither a large answer nor a flood of them takes more than its share from clients
that wait for something else. Whatever goes wrong, the incumbent's answer is served.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import msgspec

from domain.errors import ComparatorFault, ConfigError
from domain.observation import Divergence, Observation
from domain.routing import Arm
from domain.snapshot import Endpoint
from gateway.log import report
from settings.schema import CompareSettings
from shadow.tasks import Tasks

COMPARED_AT_ONCE = 8 * 1024
"""Bytes of both answers up to which they are compared on the event loop: a millisecond or so."""
MOST_TOGETHER = 32
"""Pairs compared in one turn of the event loop: a few milliseconds at most."""
MOST_APART = 4
"""Larger comparisons under way and waiting; more are not made."""


class Finding(enum.StrEnum):
    """What became of the candidate's answer to a guarded request; counted as events of these names."""

    AGREED = "guarded_agreed"  # the client got it
    OVERRULED = "guarded_overruled"  # it differs, is no 2xx, cannot be read or is too long
    UNANSWERED = "guarded_unanswered"  # there was none in time
    INCOMPARABLE = "guarded_incomparable"  # there was nothing to hold it against, or no time to


Answers = tuple[Observation, Observation]
"""The incumbent's and the candidate's."""


class Comparer(Protocol):
    """See comparators.comparison.Comparison."""

    def compare_many(self, pairs: Sequence[Answers], /) -> Sequence[Divergence | ComparatorFault]:
        """What is found in each pair, in order."""


class _Waiting(NamedTuple):
    comparer: Comparer
    answers: Answers
    done: Callable[[Finding], None]


def agreements(comparer: Comparer, pairs: Sequence[Answers]) -> list[Finding]:
    """For each pair, whether a user would take both answers for the same prediction. Never raises."""
    try:
        return [_finding(found) for found in comparer.compare_many(pairs)]
    except Exception as error:
        # A defect of a comparator must leave no client unanswered, and the others their comparison.
        if len(pairs) > 1:
            return [agreements(comparer, [pair])[0] for pair in pairs]
        report("comparison", error)
        return [Finding.INCOMPARABLE]


def _finding(found: Divergence | ComparatorFault) -> Finding:
    if isinstance(found, ComparatorFault):
        return Finding.OVERRULED if found.arm is Arm.CANDIDATE else Finding.INCOMPARABLE
    return Finding.OVERRULED if found.flip else Finding.AGREED


class Comparing:
    """What one worker compares with."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._make: Callable[[str, CompareSettings, str], Comparer] | None = None
        self._loading = False
        self._waiting: list[_Waiting] = []
        self._under_way = 0
        self._thread = ThreadPoolExecutor(1, "comparison")  # starts with the first comparison

    @property
    def loaded(self) -> bool:
        """Whether `comparer` has what it needs."""
        return self._make is not None

    def load(self) -> None:
        """Import the comparators, which takes tenths of a second."""
        from comparators.comparison import Comparison

        self._make = Comparison

    def load_apart(self, then: Callable[[], None]) -> None:
        """The same in a thread, once; call `then` when they are there."""
        if not self._loading:
            self._loading = True
            self._tasks.spawn(self._load_apart(then), "import the comparators")

    async def _load_apart(self, then: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(self.load)
        finally:
            self._loading = False
        then()

    def comparer(self, endpoint: Endpoint) -> Comparer | None:
        """What compares the answers of `endpoint`; None while that cannot be known."""
        if self._make is None or not endpoint.compare:
            return None
        try:
            settings = msgspec.json.decode(endpoint.compare, type=CompareSettings)
            return self._make(endpoint.protocol, settings, f"endpoints.{endpoint.name}.compare")
        except (msgspec.DecodeError, ConfigError) as error:
            # The control process checked it before; not to guard is safe, for then the incumbent serves.
            report("comparison", error)
            return None

    def compare(
        self, comparer: Comparer, answers: Answers, patience: float, done: Callable[[Finding], None]
    ) -> None:
        """Call `done` with what is found, now or later: INCOMPARABLE once `patience` seconds are over."""
        incumbent, candidate = answers
        if incumbent.body == candidate.body and incumbent.media == candidate.media:
            done(Finding.AGREED)  # no reading could tell them apart
        elif len(incumbent.body) + len(candidate.body) <= COMPARED_AT_ONCE:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self._compare_waiting)
            self._waiting.append(_Waiting(comparer, answers, done))
        elif self._under_way >= MOST_APART or patience <= 0:
            done(Finding.INCOMPARABLE)
        else:
            self._under_way += 1
            self._tasks.spawn(self._compare_apart(comparer, answers, patience, done), "compare")

    def _compare_waiting(self) -> None:
        now, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._compare_waiting)
        by_comparer: dict[Comparer, list[_Waiting]] = {}
        for one in now:
            by_comparer.setdefault(one.comparer, []).append(one)
        for comparer, together in by_comparer.items():
            found = agreements(comparer, [one.answers for one in together])
            for one, finding in zip(together, found, strict=True):
                one.done(finding)

    async def _compare_apart(
        self, comparer: Comparer, answers: Answers, patience: float, done: Callable[[Finding], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        comparison = loop.run_in_executor(self._thread, agreements, comparer, [answers])
        comparison.add_done_callback(self._ended)
        # Not `wait_for`: that one waits for what it cancels, and a thread cannot be cancelled.
        await asyncio.wait((comparison,), timeout=patience)
        done(comparison.result()[0] if comparison.done() else Finding.INCOMPARABLE)

    def _ended(self, comparison: asyncio.Future[list[Finding]]) -> None:
        self._under_way -= 1

    def close(self) -> None:
        """Compare no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
