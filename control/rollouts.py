"""A release that is driven in Unleash: the plan's weight is written to the flag's gradual rollout.

The plan decides, Unleash draws the units, and everybody who looks at the flag sees how far the release is. It
is written when a release enters a stage, and not again: who lowers the rollout in Unleash is not overruled
before the next stage. What is in force here is what Unleash serves (`routing.rollout.own_weight`), so a
rollout that is not written yet, or is set higher by hand, never exposes more than the plan allows.

A trip does not go through here: it takes the candidate out in the workers. Afterwards, in shadow, the rollout
is 0. What was written is kept, so a restart writes nothing anew; among replicas the leader writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from control.clock import Clock, iso
from control.events import Event, Events
from control.flag_platform import FlagPlatform
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from control.unleash_admin import PASSING, Refused, set_rollout
from domain.errors import StateUnavailable
from domain.routing import Mode
from settings.schema import DRIVEN_BY_UNLEASH, EndpointSettings, UnleashSettings
from shadow.tasks import Tasks

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds after an attempt that failed; the last one from then on, for as long as the release is there."""

LOOK = 1.0
"""Seconds between two looks, where no event calls for one."""

WRITTEN, REFUSED, FAILED = "written", "refused", "failed"
OUTCOMES = (WRITTEN, REFUSED, FAILED)

_KEPT = "rollout:"
"""Before an endpoint's name: under this is kept what was written last."""

log = logging.getLogger("pointsman.flags")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last attempt for one endpoint. `at` is wall clock, seconds since the epoch."""

    endpoint: str
    flag: str
    percent: int
    outcome: str
    reason: str
    at: float

    def shown(self) -> dict[str, object]:
        """For the API and the events."""
        return {
            "endpoint": self.endpoint, "flag": self.flag, "percent": self.percent, "outcome": self.outcome,
            "reason": self.reason, "at": iso(self.at),
        }  # fmt: skip


@dataclass(slots=True)
class _Waiting:
    """An endpoint whose last attempt failed: nothing before `until`, monotonic."""

    failures: int = 0
    until: float = 0.0


class Rollouts:
    """Writes the rollouts of the endpoints that say `drive: unleash`, while `leads` says so.

    Attributes:
        outcomes: how many attempts ended how.
        last: the last attempt for each endpoint.
    """

    def __init__(
        self,
        board: Switchboard,
        platform: FlagPlatform,
        keeper: Keeper,
        events: Events,
        clock: Clock,
        tasks: Tasks,
        leads: Callable[[], bool],
    ) -> None:
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.last: dict[str, Attempt] = {}
        self._board = board
        self._platform = platform
        self._keeper = keeper
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._leads = leads
        self._written: dict[str, str] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._called = asyncio.Event()
        for kind in ("stage", "rearm", "trip", "config"):
            events.react(kind, self._call)

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Go on from what an earlier life wrote."""
        for name, kept in states.items():
            if name.startswith(_KEPT):
                self._written[name.removeprefix(_KEPT)] = kept.decode("utf-8", "replace")

    async def run(self) -> None:
        """Write what is to be written, for ever."""
        while True:
            self._called.clear()
            for settings in self._board.settings.endpoints:
                if settings.drive == DRIVEN_BY_UNLEASH:
                    await self._look(settings)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._called.wait()

    def _call(self, event: Event) -> None:
        self._waiting.pop(str(event.data.get("endpoint")), None)
        self._called.set()

    async def _look(self, settings: EndpointSettings) -> None:
        desk, name = self._platform.unleash, settings.name
        known = self._board.unreadable is None and not self._board.tripped(name)
        if desk is None or settings.flag is None or settings.candidate is None or not known:
            return
        judge = self._board.trial(name)
        if judge is None:  # a reload took the endpoint away while another one was written
            return
        stage = judge.stage
        percent = 0 if stage.mode is Mode.SHADOW else stage.weight // 100
        server = desk.server
        # The candidate and the stage: a release that begins anew writes anew.
        where = f"{server.url} {server.project} {server.environment} {settings.flag}"
        mark = f"{where} {judge.candidate} {judge.progress.stage} {percent}"
        waiting = self._waiting.get(name, _Waiting())
        due = self._clock.monotonic() >= waiting.until
        if mark != self._written.get(name) and due and self._leads():
            await self._write(settings.name, server, settings.flag, percent, mark)

    async def _write(
        self, endpoint: str, server: UnleashSettings, flag: str, percent: int, mark: str
    ) -> None:
        try:
            await set_rollout(server, flag, percent)
        except Refused as error:
            outcome, reason = REFUSED, str(error)
        except PASSING as error:
            outcome, reason = FAILED, str(error) or type(error).__name__
        else:
            outcome, reason = WRITTEN, ""
        if outcome == WRITTEN:
            self._written[endpoint] = mark
            self._waiting.pop(endpoint, None)
            self._tasks.spawn(self._keep(endpoint, mark), f"keep rollout of {endpoint}")
        else:
            waiting = self._waiting.setdefault(endpoint, _Waiting())
            pause = PAUSES[min(waiting.failures, len(PAUSES) - 1)]
            waiting.failures += 1
            waiting.until = self._clock.monotonic() + pause
        self._tell(Attempt(endpoint, flag, percent, outcome, reason, self._clock.wall()))

    def _tell(self, attempt: Attempt) -> None:
        before = self.last.get(attempt.endpoint)
        self.last[attempt.endpoint] = attempt
        self.outcomes[attempt.outcome] += 1
        same = before is not None and (before.percent, before.outcome, before.reason) == (
            attempt.percent, attempt.outcome, attempt.reason,
        )  # fmt: skip
        if not same or attempt.outcome == WRITTEN:
            level = logging.INFO if attempt.outcome == WRITTEN else logging.WARNING
            note(log, level, "rollout", **attempt.shown())
            self._events.tell("rollout", attempt.shown())

    async def _keep(self, endpoint: str, mark: str) -> None:
        try:
            await self._keeper.checkpoint({f"{_KEPT}{endpoint}": mark.encode()}, {})
        except StateUnavailable:
            return  # counted and logged by the keeper; the next life writes the same figure once more
