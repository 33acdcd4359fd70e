"""What is kept for a time only: contents of `access` records, labels; and the beat that others see us by.

A record of the class `access` (who came and went, what was refused) loses its content once it is older than
`audit.keep_access` and a signed head covers it; its hash stays, and the chain goes on over it. That this was
done is a record itself. Where several gateways share a database only the leader erases: the others would find
nothing left, and record it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import Connection

from audit import lives, store
from audit.event import ACCESS
from audit.times import iso, micros
from control.audit_heads import HeadKeeper
from control.audit_recorder import Recorder
from control.clock import Clock
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from domain.errors import StateUnavailable
from monitoring.labels import kept as labels

EVERY = 86_400.0
"""Seconds between two rounds."""

RETRY = 60.0
"""Seconds after a round that could not be."""

BEAT = 15.0
"""Seconds between two beats."""

MOST_LABELS = 10_000_000

log = logging.getLogger("pointsman.audit")


class Retention:
    """Erases what is too old. `leads` says whether this gateway does that for all."""

    def __init__(
        self,
        switchboard: Switchboard,
        heads: HeadKeeper,
        keeper: Keeper,
        clock: Clock,
        leads: Callable[[], bool],
    ) -> None:
        self.erased = 0
        self._switchboard = switchboard
        self._recorder: Recorder = switchboard.recorder
        self._heads = heads
        self._keeper = keeper
        self._clock = clock
        self._leads = leads
        self._since = 0
        self._began = clock.wall(), clock.monotonic()

    def begin(self) -> None:
        """The gateway is about to serve: its life begins."""
        self._since = self._recorder.now()

    async def beat(self) -> None:
        """For ever: let others see that this gateway lives."""
        while True:
            await self.tell()
            await asyncio.sleep(BEAT)

    async def tell(self) -> None:
        """Let others see it once. Where the database is out of reach the next beat does."""
        now = self._recorder.now()
        try:
            await self._keeper.run(
                lambda database: database.write(
                    lambda on: lives.hear(on, self._recorder.replica, self._since, now)
                )
            )
        except StateUnavailable:
            return  # counted and logged by the keeper

    async def run(self) -> None:
        """For ever: a round a day, the first one soon after the start."""
        while True:
            done = not self._leads() or await self.round()
            await asyncio.sleep(EVERY if done and self._leads() else RETRY)

    async def round(self) -> bool:
        """Erase what is too old now; whether that could be done."""
        settings = self._switchboard.settings
        wall = self._now()
        before = micros(wall - settings.audit.keep_access)
        head = self._heads.last
        covered = 0 if head is None or self._heads.problem is not None else head.size
        forgotten = wall - settings.log.keep
        try:
            due = await self._keeper.run(
                lambda database: database.read(lambda on: store.erasable(on, before, ACCESS, covered))
            )
            if due:
                await self._erase(before, covered, due)
            while await self._keeper.run(  # noqa: ASYNC110 - it is the work
                lambda database: database.write(lambda on: labels.prune(on, forgotten, MOST_LABELS))
            ):
                await asyncio.sleep(0)  # kills want the store's thread between
        except StateUnavailable as error:
            note(log, logging.WARNING, "retention put off", reason=str(error))
            return False
        return True

    def _now(self) -> float:
        """The wall clock, unless it was set forward meanwhile: what is erased does not come back."""
        wall, monotonic = self._began
        return min(self._clock.wall(), wall + self._clock.monotonic() - monotonic)

    async def _erase(self, before: int, covered: int, due: int) -> None:
        event = self._recorder.event(
            "audit.erased", "audit", ACCESS,
            reason="older than audit.keep_access",
            after={"records": due, "before": iso(before), "covered": covered},
        )  # fmt: skip

        def erase(on: Connection) -> int:
            return store.erase(on, before, ACCESS, covered)

        erased = await self._recorder.together(erase, event)
        self.erased += erased
        note(log, logging.INFO, "audit records erased", records=erased, before=iso(before))
