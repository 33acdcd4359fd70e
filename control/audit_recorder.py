"""The recorder: whatever changes what is live, or who may change it, becomes a record of the audit chain.

Two ways lead into it. What asks for leave (a re-arm, another configuration, a step of a release) goes
`together` with its record in one transaction, before it is visible: where the record cannot be kept, the
change is refused. What must not wait (a kill, a flag that was switched off elsewhere, the end of the process)
is done first and `tell`s: it is kept within a second, in the order in which it was told, or, when the
database is out of reach, on its return, flagged late. So a trip never waits for the audit, and the audit
never misses one: kills that a crash took from here are found in the kill store at the next start.

Many events go into one transaction, so that the disk is asked once for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from audit import canonical, store
from audit import event as kinds
from audit.chain import BrokenChain
from audit.event import Event, Record, state_digest
from audit.times import micros
from control.audit_states import FlagStates, State, Trial, endpoints
from control.clock import Clock
from control.keeper import Keeper
from control.log import note
from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.guards import GuardReport
from settings.schema import Settings
from shadow.tasks import Tasks
from storage.database import Database

PATIENCE = 2.0
"""Seconds that whoever killed waits for the record."""

RETRY = 0.5
"""Seconds between two attempts to keep what could not be kept."""

PROMPT = 1.0
"""Seconds after which a record is late."""

MOST_AT_ONCE = 500
"""Events in one transaction."""

MOST_WAITING = 100_000
"""Events that wait for a database that is out of reach. Kills are kept beyond it; they are few."""

log = logging.getLogger("pointsman.audit")

T = TypeVar("T")


class _Waiting(NamedTuple):
    """An event that is not kept yet, with a text that it names; `told` is monotonic, `number` counts up."""

    number: int
    event: Event
    text: bytes | None
    told: float


class Recorder:
    """Records as `replica`.

    Attributes:
        failure: why the chain cannot be written now, None while it can.
        recorded: records that this process appended.
        late: of them, those that came late.
        lost: events that were given up because too many waited.
    """

    def __init__(
        self,
        keeper: Keeper,
        clock: Clock,
        tasks: Tasks,
        *,
        replica: str,
        version: str,
        shown: Callable[[Settings], object],
    ) -> None:
        """`version` is this program's; `shown` is what may be kept of a configuration, as JSON."""
        self.failure: str | None = None
        self.recorded = self.late = self.lost = 0
        self.replica = replica
        self._version = version
        self._shown = shown
        self._number = 0
        self._keeper = keeper
        self._clock = clock
        self._tasks = tasks
        self._floor = 0
        self._waiting: deque[_Waiting] = deque()
        self._writing = asyncio.Lock()
        self._told = asyncio.Event()
        self._kept = asyncio.Condition()
        self._flags = FlagStates()
        self._states: dict[str, State] = {}
        self._begun = False

    @property
    def waiting(self) -> int:
        """Events that are not durable yet."""
        return len(self._waiting)

    @property
    def lacking_since(self) -> int | None:
        """The earliest instant (microseconds) of what is not durable yet: the chain is whole before it."""
        return min((one.event.at for one in self._waiting), default=None)

    def now(self) -> int:
        """This instant on the time axis of the chain, in microseconds: it never runs back."""
        self._floor = max(self._floor, micros(self._clock.wall()))
        return self._floor

    # Making events.

    def event(
        self,
        action: str,
        kind: str,
        name: str,
        *,
        actor: str = "process",
        reason: str = "",
        after: Mapping[str, object] | None = None,
        before: str = "",
        evidence: Mapping[str, object] | None = None,
        authentication: str = "",
        request: str = "",
        result: str = "done",
    ) -> Event:
        """An event of now, by this replica; see `audit.event.Event`."""
        wall = micros(self._clock.wall())
        return Event(
            action, kind, name, self.now(), actor, reason, after, before, evidence, self.replica,
            authentication, request, result, wall, micros(self._clock.monotonic()),
        )  # fmt: skip

    def tell(self, event: Event, text: bytes | None = None) -> None:
        """Record `event`, and keep `text`, which it names, as soon as that is possible."""
        if len(self._waiting) >= MOST_WAITING:
            self._give_up_one()
        self._number += 1
        self._waiting.append(_Waiting(self._number, event, text, self._clock.monotonic()))
        self._told.set()

    def _give_up_one(self) -> None:
        for at, one in enumerate(self._waiting):
            if one.event.action not in (kinds.TRIPPED, kinds.REARMED):
                del self._waiting[at]
                self.lost += 1
                return

    # What changes what is live.

    def tripped(
        self,
        kill: Kill,
        cause: str,
        evidence: Mapping[str, object] | None,
        *,
        heard: bool = False,
        authentication: str = "",
    ) -> None:
        """A kill is in force. `heard`: another replica made it."""
        after = {"kill": kill.id, "version": kill.version, "cause": cause, "killed_at": micros(kill.at)}
        event = self.event(
            kinds.TRIPPED, "switch", kill.endpoint, actor=kill.actor, reason=kill.reason,
            after={**after, "heard": True} if heard else after, evidence=evidence,
            authentication=authentication,
        )  # fmt: skip
        if not heard:
            self.tell(event)
            return
        self._tasks.spawn(self._tell_later(event), f"record of kill {kill.id}")

    async def _tell_later(self, event: Event) -> None:
        """Who killed records it; this is for a replica that did not live to do so."""
        await asyncio.sleep(PROMPT)
        self.tell(event)

    def rearmed(
        self, clearance: Clearance, evidence: Mapping[str, object] | None = None, authentication: str = ""
    ) -> Event:
        """The event of a re-arm, for `together` or `tell`."""
        return self.event(
            kinds.REARMED, "switch", clearance.endpoint, actor=clearance.actor, reason=clearance.reason,
            after={"cleared": sorted(clearance.ids)}, evidence=evidence, authentication=authentication,
        )  # fmt: skip

    def lineage(self, version: str, before: State | None, after: State | None, source: str = "") -> None:
        """The registry says something else of `version`; None: nothing."""
        self.tell(
            self.event(
                "lineage.changed", kinds.VERSION, version, actor="registry", reason=source, after=after,
                before=state_digest(before),
            )
        )  # fmt: skip

    def changes(
        self,
        action: str,
        settings: Settings,
        trials: Mapping[str, Trial],
        flags: bytes,
        *,
        actor: str,
        reason: str = "",
        evidence: Mapping[str, Mapping[str, object]] | None = None,
    ) -> tuple[Event, ...]:
        """One event for each endpoint whose state is not as it was last `observe`d."""
        states = endpoints(settings, trials, flags, self._flags)
        found = [
            self.event(
                action, kinds.ENDPOINT, name, actor=actor, reason=reason, after=state,
                before=state_digest(self._states.get(name)), evidence=(evidence or {}).get(name),
            )
            for name, state in states.items()
            if state != self._states.get(name)
        ]  # fmt: skip
        gone = [
            self.event(
                "endpoint.removed", kinds.ENDPOINT, name, actor=actor, reason=reason,
                before=state_digest(self._states[name]),
            )
            for name in self._states.keys() - states.keys()
        ]  # fmt: skip
        return (*found, *gone)

    def seen(self, events: Sequence[Event]) -> None:
        """The changes of endpoints among `events` are in force."""
        for one in events:
            if one.kind == kinds.ENDPOINT and one.after is not None:
                self._states[one.name] = one.after
            elif one.kind == kinds.ENDPOINT:
                self._states.pop(one.name, None)

    def observe(
        self,
        action: str,
        settings: Settings,
        trials: Mapping[str, Trial],
        flags: bytes,
        *,
        actor: str,
        reason: str = "",
        evidence: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """Tell of each endpoint whose state is not as it was when this was last called."""
        if not self._begun:
            return  # what is in force when the process begins is told by `begin`
        found = self.changes(action, settings, trials, flags, actor=actor, reason=reason, evidence=evidence)
        for one in found:
            self.tell(one)
        self.seen(found)

    def configured(
        self, before: Settings, settings: Settings, actor: str, authentication: str = ""
    ) -> tuple[Event, bytes]:
        """The event of `settings` that follow `before`, and the text that it names."""
        text = self._text(settings)
        after = self._gateway(settings, text)
        earlier = state_digest(self._gateway(before, self._text(before)))
        return self.event(
            "configuration.loaded", kinds.GATEWAY, "", actor=actor, after=after, before=earlier,
            authentication=authentication,
        ), text  # fmt: skip

    def _text(self, settings: Settings) -> bytes:
        return canonical.encode(canonical.tame(self._shown(settings)))

    def _gateway(self, settings: Settings, text: bytes) -> State:
        return {
            "configuration": settings.digest,
            "text": sha256(text).hexdigest(),
            "version": self._version,
            "workers": settings.workers,
        }

    def begin(self, settings: Settings, trials: Mapping[str, Trial], flags: bytes) -> None:
        """The process serves: what is live from now on."""
        self._begun = True
        text = self._text(settings)
        self.tell(self.event(kinds.STARTED, kinds.GATEWAY, "", after=self._gateway(settings, text)), text)
        self.observe("endpoint.served", settings, trials, flags, actor="process")

    def ended(self, reason: str) -> None:
        """The process serves no longer."""
        if self._begun:
            self.tell(self.event(kinds.STOPPED, kinds.GATEWAY, "", reason=reason))

    # Into the chain.

    async def together(self, work: Callable[[Connection], T], *events: Event, text: bytes | None = None) -> T:
        """Do `work` and record `events` in one transaction, after all that was told before.

        Raises StateUnavailable, and what `work` raises: then nothing was done, and nothing recorded.
        """
        async with self._writing:
            before = tuple(self._waiting)
            now = self._clock.monotonic()

            def write(on: Connection) -> tuple[T, int]:
                store.hold(on)
                appended = _append(on, before, now)
                answer = work(on)
                if text is not None:
                    store.keep_text(on, text)
                return answer, appended + len(store.append(on, events))

            answer, appended = await self._call(lambda database: database.write(write))
            await self._count(before, appended)
            return answer

    async def settled(self, patience: float = PATIENCE) -> bool:
        """Whether all that was told until now is durable, within `patience` seconds."""
        last = self._number
        try:
            async with asyncio.timeout(patience), self._kept:
                while self._waiting and self._waiting[0].number <= last:
                    await self._kept.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """For ever: keep what was told."""
        await self._recover()
        while True:
            if not self._waiting:
                self._told.clear()
                await self._told.wait()
            if not await self.flush():
                await asyncio.sleep(RETRY)

    async def flush(self) -> bool:
        """Keep all that was told until now; whether that worked."""
        async with self._writing:
            while self._waiting:
                part = tuple(self._waiting)[:MOST_AT_ONCE]
                now = self._clock.monotonic()
                try:
                    appended = await self._call(
                        lambda database, part=part, now=now: database.write(  # type: ignore[misc]
                            lambda on: _append(on, part, now)
                        )
                    )
                except StateUnavailable:
                    return False  # counted and logged by _call; what is told is kept here
                await self._count(part, appended)
        return True

    async def _recover(self) -> None:
        """Go on in time where the chain ends, and record what an earlier life did and could not record."""
        while True:
            try:
                last = await self._call(lambda database: database.read(store.last_time))
                self._floor = max(self._floor, last)
                missed = await self._call(lambda database: database.write(_recovered))
            except StateUnavailable:
                await asyncio.sleep(RETRY)
                continue
            self.recorded += len(missed)
            self.late += len(missed)
            if missed:
                note(log, logging.WARNING, "records recovered", records=len(missed))
            return

    async def _call(self, work: Callable[[Database], T]) -> T:
        """`work` in the store's thread; whatever is wrong with the chain is StateUnavailable."""
        try:
            answer = await self._keeper.run(work)
        except StateUnavailable as error:
            self._fail(str(error))
            raise
        except BrokenChain as error:
            # A damaged chain must be looked at: nothing is appended to it, so nothing may change.
            self._fail(str(error))
            raise StateUnavailable(f"the audit chain cannot be written: {error}") from error
        if self.failure is not None:
            note(log, logging.INFO, "audit back", waiting=self.waiting)
        self.failure = None
        return answer

    def _fail(self, reason: str) -> None:
        if self.failure != reason:
            note(log, logging.ERROR, "audit out of reach", reason=reason, waiting=self.waiting)
        self.failure = reason
        for at, one in enumerate(self._waiting):
            self._waiting[at] = one._replace(event=one.event.delayed())

    async def _count(self, kept: Sequence[_Waiting], appended: int) -> None:
        now = self._clock.monotonic()
        self.recorded += appended
        self.late += sum(one.event.late or now - one.told > PROMPT for one in kept)
        while kept and self._waiting and self._waiting[0].number <= kept[-1].number:
            self._waiting.popleft()
        async with self._kept:
            self._kept.notify_all()


def numbers(report: GuardReport) -> dict[str, object]:
    """What a guard says, as evidence of an event."""
    return {
        "verdict": report.verdict.value, "estimate": report.estimate, "limit": report.limit,
        "evidence": report.evidence, "threshold": report.threshold, "count": report.count,
        "sentence": report.sentence,
    }  # fmt: skip


def _append(on: Connection, waiting: Sequence[_Waiting], now: float) -> int:
    store.hold(on)
    for one in waiting:
        if one.text is not None:
            store.keep_text(on, one.text)
    events = [one.event.delayed() if now - one.told > PROMPT else one.event for one in waiting]
    return len(store.append(on, events))


def _recovered(on: Connection) -> tuple[Record, ...]:
    return store.append(on, store.unrecorded(on))
