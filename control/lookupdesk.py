"""The desk that workers ask about units: the platform's answers, held for a while, told when they change.

A worker sends the units that it knows nothing of, or not lately, and nobody waits for the answer. They are
queued here up to a bound, each once however many workers ask, and evaluated in batches in a thread. Whatever
does not fit is dropped and counted, and asked again by the unit's next request.

What was answered is held for `age` seconds, so that a change of the flags, where the platform tells of it, is
told to every worker at once and not only when its answers grow old.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from control.clock import Clock
from control.evaluating import EvaluatingThread
from control.link import Link
from control.log import note
from domain.errors import StateUnavailable
from domain.exposure import Exposed, Question
from domain.snapshot import Lookup
from routing.sources.evaluator import Evaluation, Evaluator
from settings.schema import OpenFeatureSettings, Settings
from settings.snapshot import lookup
from settings.surroundings import platform_token
from shadow.tasks import Tasks
from shadow.wire import Answered, Asked, frame

FIRST_START = 2.0
"""Seconds that the start waits for the platform; it goes on without it."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between attempts to start it; the last one from then on."""

PUMPS = 4
"""Batches that are evaluated at once."""

BATCH = 64
"""Questions of one batch."""

MOST_QUEUED = 20_000
"""Questions that wait here."""

FRESH = 1.0
"""Seconds in which an answer is given again without asking: other workers see the same unit."""

EXPOSED, WITHHELD, UNANSWERED, DROPPED = "exposed", "withheld", "unanswered", "dropped"
OUTCOMES = (EXPOSED, WITHHELD, UNANSWERED, DROPPED)

EVERYBODY = ""
"""In place of a worker's session: all of them."""

log = logging.getLogger("pointsman.flags")


class _Held(NamedTuple):
    exposed: bool
    at: float


class LookupDesk:
    """One flag platform, for the flags that `settings` name.

    Attributes:
        stale: why the platform gives no answers now; None while it does.
        evaluations: how many ended how.
        problems: what is wrong with flags, by name, as their last evaluation said.
        answered: whether it has ever answered.
    """

    def __init__(self, settings: Settings, link: Link, clock: Clock, tasks: Tasks) -> None:
        """Raises ConfigError when a key or a package is missing."""
        bounds, server = lookup(settings), settings.openfeature
        if bounds is None or server is None:
            raise ValueError("these settings name no platform that is asked unit by unit")
        self.server: OpenFeatureSettings = server
        self.bounds: Lookup = bounds
        self.names = frozenset(one.flag for one in settings.endpoints if one.flag is not None)
        self.stale: str | None = "the flag platform has not been asked yet"
        self.evaluations: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.problems: dict[str, str] = {}
        self.answered = False
        self._link = link
        self._clock = clock
        self._tasks = tasks
        self._thread = EvaluatingThread()
        self._evaluator = _evaluator(server, settings, self._changed_somewhere, clock)
        self._queued: dict[Question, set[str]] = {}
        self._filled = asyncio.Event()
        self._changed = asyncio.Event()
        self._held: dict[Question, _Held] = {}
        self._loop = asyncio.get_running_loop()
        self._running: list[asyncio.Task[None]] = []

    @property
    def held(self) -> int:
        """Answers that are held."""
        return len(self._held)

    async def start(self) -> None:
        """Begin, and wait a little for the platform to be ready."""
        ready = self._tasks.spawn(self._get_ready(), "flag platform")
        self._running = [ready]
        self._running += [self._tasks.spawn(self._pump(), f"flags asked {one}") for one in range(PUMPS)]
        self._running.append(self._tasks.spawn(self._follow_changes(), "flags changed"))
        await asyncio.wait({ready}, timeout=FIRST_START)

    async def end(self) -> None:
        """Ask no more."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        await self._thread.run(self._evaluator.close())
        await self._thread.close()

    def asked(self, session: str, message: Asked) -> None:
        """A worker wants to know."""
        now = self._clock.monotonic()
        known: list[Exposed] = []
        for question in message.questions:
            held = self._held.get(question)
            if held is not None and 0 <= now - held.at < FRESH:
                known.append(Exposed(question, held.exposed))
            elif question.flag in self.names:
                self._queue(question, session)
        if known:
            self._tell({session}, known)

    async def refresh(self) -> None:
        """Evaluate all that is held again. Raises StateUnavailable when nothing is answered."""
        await self._evaluate_held()
        if self.stale is not None:
            raise StateUnavailable(self.stale)

    def _queue(self, question: Question, session: str) -> None:
        asking = self._queued.get(question)
        if asking is not None:
            asking.add(session)
        elif len(self._queued) >= MOST_QUEUED:
            self.evaluations[DROPPED] += 1
        else:
            self._queued[question] = {session}
            self._filled.set()

    # What runs on the side.

    async def _get_ready(self) -> None:
        for pause in _pauses():
            try:
                await self._thread.run(self._evaluator.start())
            except StateUnavailable as error:
                reason = str(error)
            except Exception as error:  # a provider may raise whatever it likes
                reason = _failed(error)
            else:
                self._answers_again()
                return
            self._answers_nothing(reason)
            await asyncio.sleep(pause)

    async def _pump(self) -> None:
        while True:
            await self._filled.wait()
            asked = {one: self._queued.pop(one) for one in list(self._queued)[:BATCH]}
            if not self._queued:
                self._filled.clear()
            if asked:
                before = {one: self._held[one].exposed for one in asked if one in self._held}
                found = await self._evaluate(list(asked))
                by_asking: dict[frozenset[str], list[Exposed]] = {}
                for one in found:
                    # Other workers go by the answer that is held: what is different concerns them all.
                    different = before.get(one.question, one.exposed) is not one.exposed
                    sessions = {EVERYBODY} if different else asked[one.question]
                    by_asking.setdefault(frozenset(sessions), []).append(one)
                for asking, answers in by_asking.items():
                    self._tell(asking, answers)

    async def _follow_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._evaluate_held()
            except Exception as error:  # the next change has to be followed all the same
                note(log, logging.ERROR, "flags changed, and were not asked again", reason=_failed(error))
                await asyncio.sleep(PAUSES[0])
                self._changed.set()

    async def _evaluate_held(self) -> None:
        """Ask again for all that is held, and tell every worker what is different now."""
        held = list(self._held)
        for start in range(0, len(held), BATCH):
            before = {
                one: self._held[one].exposed for one in held[start : start + BATCH] if one in self._held
            }
            found = await self._evaluate(list(before))
            different = [one for one in found if one.exposed is not before[one.question]]
            if different:
                self._tell({EVERYBODY}, different)

    async def _evaluate(self, questions: list[Question]) -> list[Exposed]:
        """The answers there are; what is not answered is missing."""
        try:
            evaluations = await self._thread.run(self._evaluator.evaluate(questions))
        except Exception as error:  # a provider may raise whatever it likes
            evaluations = [Evaluation(None, _failed(error))] * len(questions)
        now = self._clock.monotonic()
        found: list[Exposed] = []
        unanswered = ""
        for question, evaluation in zip(questions, evaluations, strict=True):
            if evaluation.exposed is None:
                self.evaluations[UNANSWERED] += 1
                unanswered = evaluation.problem
                continue
            self.evaluations[EXPOSED if evaluation.exposed else WITHHELD] += 1
            self._note(question.flag, evaluation.problem)
            found.append(Exposed(question, evaluation.exposed))
            self._hold(question, _Held(evaluation.exposed, now))
        self._forget_old(now)
        self.answered = self.answered or bool(found)
        if unanswered:
            self._answers_nothing(unanswered)
        elif found:
            self._answers_again()
        return found

    def _hold(self, question: Question, held: _Held) -> None:
        self._held.pop(question, None)
        self._held[question] = held
        if len(self._held) > self.bounds.most:
            del self._held[next(iter(self._held))]

    def _forget_old(self, now: float) -> None:
        """Those that were answered longest ago stand first."""
        while self._held:
            first = next(iter(self._held))
            if now - self._held[first].at < self.bounds.age:
                return
            del self._held[first]

    def _tell(self, sessions: Iterable[str], answers: list[Exposed]) -> None:
        told = frame(Answered(self.bounds.source, answers))
        asking = set(sessions)
        for worker in self._link.workers:
            if EVERYBODY in asking or worker.session in asking:
                self._link.send(worker, told)

    # What is told about it.

    def _changed_somewhere(self) -> None:
        """In any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def _note(self, flag: str, problem: str) -> None:
        if not problem:
            self.problems.pop(flag, None)
        elif self.problems.get(flag) != problem:
            self.problems[flag] = problem
            who = self.server.provider
            note(log, logging.WARNING, "flag exposes nobody", flag=flag, reason=problem, platform=who)

    def _answers_nothing(self, reason: str) -> None:
        if self.stale != reason:
            note(log, logging.ERROR, "flags stale", reason=reason)
        self.stale = reason

    def _answers_again(self) -> None:
        if self.stale is not None:
            note(log, logging.INFO, "flags fresh again")
            self.stale = None


def _failed(error: Exception) -> str:
    """Told by its kind alone: its text is the provider's own and may hold the unit."""
    return f"the flag platform's code failed: {type(error).__name__}"


def _pauses() -> Iterable[float]:
    yield from PAUSES
    while True:
        yield PAUSES[-1]


def _evaluator(
    server: OpenFeatureSettings, settings: Settings, changed: Callable[[], None], clock: Clock
) -> Evaluator:
    from routing.sources.providers import evaluator

    token = platform_token(server, os.environ)
    given = {"environment": settings.environment, "appName": settings.app_name}
    known: Mapping[str, str] = {name: value for name, value in given.items() if value is not None}
    return evaluator(server, token, known, changed, clock.monotonic)
