"""Telling receivers what happens: after it has happened, at least once, and never in its way.

An event of the control process becomes an entry for each receiver that wants it, put into memory without
waiting for anything; a trip is in force, kept and confirmed by then. A task of its own keeps entries in the
database (`notify.outbox`) and delivers them, one after the other for each receiver and endpoint. So a process
that is killed finds in its next life what it had not delivered; and what it had not even kept is read off the
kills, clearances and releases that it finds (`_standing`).

While the database cannot be written, entries are delivered all the same: that is when people need them most.

Where replicas share a database, each of them keeps what it saw, which is one row for all, and whoever kept it
first delivers it. Where each has its own, who tripped tells, and the others remember that it is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection

from control.clock import Clock, iso
from control.events import Event, Events
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from control.trip import cause as cause_of
from domain.errors import ConfigError, PointsmanError, StateUnavailable
from domain.kill import is_rehearsed
from gates import releases
from notify import formats, outbox, training
from notify import notice as notices
from notify.delivery import Attempt, Delivery
from notify.message import Credentials, Message
from notify.notice import Notice
from notify.outbox import DELIVERED, Entry
from notify.retry import Fate, Pace
from settings.receivers import Cause, Destination, Receiver, Retraining, Topic
from settings.surroundings import receiver_secrets, training_secrets
from shadow.tasks import Tasks

LOOK = 10.0
"""Seconds between two looks for what nobody delivers any more."""

PATIENCE = 2.0
"""Seconds after which what could not be kept is delivered all the same."""

RETRY = 0.5
"""Seconds between two attempts to keep what could not be kept."""

MOST_WAITING = 2_000
"""Entries that are not delivered yet, for all receivers."""

MOST_AT_ONCE = 200
"""Entries in one transaction."""

AT_ONCE = 2
"""Attempts under way at one receiver."""

RECENT = 3_600.0
"""Seconds for which a step or a re-arm that was perhaps not told is told at the next start."""

TRAINER = "retrain:"
"""Before an endpoint's name: what its trainings are asked from, among the receivers."""

REFUSED, GIVEN_UP, DROPPED, REMOVED, HEARD = "refused", "given_up", "dropped", "removed", "heard"
OUTCOMES = (DELIVERED, REFUSED, GIVEN_UP, DROPPED, REMOVED)

log = logging.getLogger("pointsman.notify")

T = TypeVar("T")
Lane = tuple[str, str]


class UnknownReceiver(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """No receiver has this name."""


@dataclass(frozen=True, slots=True)
class _Training:
    """A training that is to be asked for, if that was not done in the period."""

    endpoint: str
    version: str
    cause: Cause
    reason: str
    at: float


class Notifying:
    """Tells the receivers of `board.settings`.

    Attributes:
        outcomes: how many entries ended how, by receiver.
        failures: attempts that failed, by receiver.
        waiting: what is not delivered yet, oldest first.
    """

    def __init__(
        self,
        board: Switchboard,
        events: Events,
        keeper: Keeper,
        clock: Clock,
        tasks: Tasks,
        *,
        replica: str,
        environment: Mapping[str, str],
        draw: Callable[[], float],
        leads: Callable[[], bool],
        delivery: Delivery | None = None,
    ) -> None:
        """`replica` is this one's name; `draw` gives numbers in [0, 1); `leads`: whether this one leads."""
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.failures: Counter[str] = Counter()
        self.waiting: dict[tuple[str, str], Entry] = {}
        self.pace = Pace()
        self._board = board
        self._keeper = keeper
        self._clock = clock
        self._tasks = tasks
        self._replica = replica
        self._environment = environment
        self._draw = draw
        self._leads = leads
        self._delivery = delivery or Delivery()
        self._unkept: deque[tuple[Entry, bool]] = deque()
        self._trainings: deque[_Training] = deque()
        self._settled: deque[tuple[Entry, str]] = deque()
        self._lanes: defaultdict[Lane, deque[Entry]] = defaultdict(deque)
        self._busy: set[Lane] = set()
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._told = asyncio.Event()
        self._keeping: asyncio.Task[frozenset[tuple[str, str]] | None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._looked = -LOOK
        self._resumed = False
        self._tests = 0
        for kind, reaction in (
            ("trip", self._tripped), ("rearm", self._rearmed), ("release", self._stepped),
            ("stage", self._staged), ("drill", self._drilled), ("approval", self._approved),
            ("drift", self._drifted), ("accuracy", self._drifted),
        ):  # fmt: skip
            events.react(kind, reaction)

    # What happens.

    def _tripped(self, event: Event) -> None:
        data = event.data
        if is_rehearsed(str(data.get("kill"))):
            return  # the drill tells of itself
        self._tell(notices.of_trip(data, self._clock.wall()), heard=bool(data.get("heard")))
        accuracy = str(data.get("cause", "")).startswith(f"guard:{Cause.ACCURACY}")
        if accuracy and (not data.get("heard") or self._shared):
            self._train(data, Cause.ACCURACY)

    def _rearmed(self, event: Event) -> None:
        cleared = event.data.get("cleared")
        if isinstance(cleared, list) and cleared and all(map(is_rehearsed, cleared)):
            return
        self._tell(notices.of_rearm(event.data, self._clock.wall()), heard=bool(event.data.get("heard")))

    def _stepped(self, event: Event) -> None:
        self._tell(notices.of_release(event.data, self._clock.wall()))

    def _staged(self, event: Event) -> None:
        judge = self._board.judges.get(str(event.data.get("endpoint")))
        if judge is None or judge.ruled or not self._leads():
            return  # a release tells of its own steps, and every replica of each stage
        trial = f"{judge.release} {judge.progress.since!r}"
        self._tell(notices.of_stage(event.data, self._clock.wall(), trial))

    def _drilled(self, event: Event) -> None:
        self._tell(notices.of_drill(event.data, self._clock.wall()))

    def _approved(self, event: Event) -> None:
        self._tell(notices.of_approval(event.data, self._clock.wall()))

    def _drifted(self, event: Event) -> None:
        if event.kind == Topic.DRIFT:
            self._tell(notices.of_drift(event.data, self._clock.wall()))
        self._train(event.data, Cause(event.kind))

    def _tell(self, notice: Notice, *, heard: bool = False) -> None:
        """Put `notice` into memory for whoever wants it. It neither waits nor raises."""
        for receiver in self._board.settings.notifications:
            if not notices.wanted(receiver, notice):
                continue
            entry = Entry(receiver.name, notice)
            if heard and not self._shared:
                self._settled.append((entry, HEARD))
            else:
                self._put(entry, heard=heard)
        self._told.set()

    def _put(self, entry: Entry, *, heard: bool) -> None:
        if entry.key in self.waiting:
            return
        if len(self.waiting) >= MOST_WAITING:
            first = next(iter(self.waiting.values()))
            least = next((one for one in self.waiting.values() if not one.notice.urgent), first)
            self._settle(least, DROPPED)
        self.waiting[entry.key] = entry
        self._unkept.append((entry, heard))

    def _train(self, data: Mapping[str, object], cause: Cause) -> None:
        name = str(data.get("endpoint"))
        judge = self._board.judges.get(name)
        retrain = None if judge is None else judge.settings.retrain
        if retrain is None or cause not in retrain.on or len(self._trainings) >= MOST_WAITING:
            return
        version, reason = str(data.get("version") or ""), str(data.get("reason") or "")
        self._trainings.append(_Training(name, version, cause, reason, self._clock.wall()))
        self._told.set()

    @property
    def _concerned(self) -> bool:
        """Whether anybody is told anything."""
        settings = self._board.settings
        trained = any(one.retrain is not None for one in settings.endpoints)
        return trained or bool(settings.notifications or self.waiting)

    @property
    def _shared(self) -> bool:
        """Whether replicas share this database."""
        return not self._board.settings.database.startswith("sqlite:")

    # Life.

    async def run(self) -> None:
        """For ever: keep what was told, and see to it that somebody delivers it."""
        while True:
            self._told.clear()
            try:
                kept = await self._round()
            except Exception:
                # A mistake of ours with one of them must not silence what comes after it.
                log.exception("notifications not looked at")
                kept = False
            if kept and (self._unkept or self._settled):
                continue  # more than one transaction takes
            pause = LOOK if kept and (self._resumed or not self._concerned) else RETRY
            try:
                async with asyncio.timeout(pause):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        """Whether the database could be written."""
        if not await self.flush():
            return False
        if self._tending is None or self._tending.done():
            if not (self._trainings or self._due):
                return True
            self._tending = self._tasks.spawn(self._tend(), "tend notifications")
        # Not waited for until it ends: while a disk hangs, the next trip is told all the same.
        done, _ = await asyncio.wait({self._tending}, timeout=PATIENCE)
        return bool(done)

    @property
    def _due(self) -> bool:
        """Whether it is time for a look."""
        return self._concerned and self._clock.monotonic() - self._looked >= LOOK

    async def _tend(self) -> None:
        try:
            await self._ask()
            if self._due:
                await self._look()
        except Exception:
            log.exception("notifications not looked after")

    async def flush(self) -> bool:
        """Keep what was told and what was settled until now, and hand over what was told for delivery.

        False: the database could not be written in time.
        """
        told = list(islice(self._unkept, MOST_AT_ONCE))
        settled = list(islice(self._settled, MOST_AT_ONCE))
        if not (told or settled):
            return True
        # Both stay where they are until they are kept: this may be cancelled, and the last flush goes on.
        # One at a time: what piles up before a disk that hangs would stand before the next kill.
        new = None
        if self._keeping is not None:
            await asyncio.wait({self._keeping}, timeout=PATIENCE)
        if self._keeping is None or self._keeping.done():
            self._keeping = self._tasks.spawn(self._keep(told, settled), "keep notifications")
            done, _ = await asyncio.wait({self._keeping}, timeout=PATIENCE)
            new = self._keeping.result() if done else None
        for entry, heard in told:
            self._unkept.popleft()
            if entry.key in new if new is not None else not heard:
                self._enter(entry)
            elif new is not None:
                self.waiting.pop(entry.key, None)  # somebody tells it, or told it already
        if new is None:  # what was heard of is told by who did it, and kept when that is possible
            self._unkept.extendleft(one for one in reversed(told) if one[1])
            return False
        for _ in settled:
            self._settled.popleft()
        return True

    async def _keep(
        self, told: list[tuple[Entry, bool]], settled: list[tuple[Entry, str]]
    ) -> frozenset[tuple[str, str]] | None:
        """The keys of those that are new; None when the database cannot be written."""
        now = self._clock.wall()

        def keep(on: Connection) -> frozenset[tuple[str, str]]:
            new = outbox.keep(on, (entry for entry, _ in told), self._replica, now)
            outbox.settle(on, settled, now)
            return new

        try:
            return await self._write(keep)
        except StateUnavailable:
            return None  # counted and logged by the keeper
        except Exception:
            log.exception("notifications not kept")  # they are delivered all the same
            return None

    async def _ask(self) -> None:
        """Claim the trainings that nobody has asked for in their period; the next look delivers them."""
        while self._trainings:
            one = self._trainings[0]
            judge = self._board.judges.get(one.endpoint)
            retrain = None if judge is None else judge.settings.retrain
            if retrain is not None:
                try:
                    await self._write(partial(self._claim, one=one, retrain=retrain))
                except StateUnavailable:
                    return  # counted and logged by the keeper; it is asked for when the database is back
            self._trainings.popleft()
            self._looked = -LOOK

    def _claim(self, on: Connection, one: _Training, retrain: Retraining) -> None:
        now = self._clock.wall()
        claim = outbox.claim_training(
            on, one.endpoint, one.version, one.cause, now, most=retrain.most, period=retrain.period
        )
        if claim is not None:
            notice = notices.of_retraining(one.endpoint, one.version, one.cause, one.reason, one.at, claim)
            outbox.keep(on, [Entry(f"{TRAINER}{one.endpoint}", notice)], self._replica, now)

    async def _look(self) -> None:
        """Say that this process lives, and take over what nobody delivers."""
        now = self._clock.wall()

        def look(on: Connection) -> tuple[Entry, ...]:
            outbox.renew(on, self._replica, now)
            outbox.forget(on, now)
            room = max(0, MOST_WAITING - len(self.waiting))
            return outbox.take_over(on, self._replica, now, room)

        try:
            if not self._resumed and self._board.unreadable is None:
                for notice in await self._standing():
                    self._tell(notice)
            found = await self._write(look)
        except StateUnavailable:
            return  # counted and logged by the keeper; the next look comes soon
        self._resumed = self._resumed or self._board.unreadable is None
        self._looked = self._clock.monotonic()
        ended = {entry.key for entry, _ in self._settled}
        for entry in found:
            if entry.key not in self.waiting and entry.key not in ended:
                self.waiting[entry.key] = entry
                self._enter(entry)

    async def _standing(self) -> list[Notice]:
        """What an earlier life did, and perhaps did not live to tell. What it kept is not told again."""
        now = self._clock.wall()
        found: list[Notice] = []
        for name in self._board.killable:
            for kill in self._board.kill_state(name).uncleared:
                if kill.at > now - outbox.RETENTION and not is_rehearsed(kill.id):
                    told: dict[str, object] = {
                        "endpoint": name, "kill": kill.id, "version": kill.version, "cause": cause_of(kill),
                        "actor": kill.actor, "reason": kill.reason, "at": iso(kill.at),
                    }  # fmt: skip
                    found.append(notices.of_trip(told, kill.at))
            for one in self._board.copy(name).clearances:
                if one.at > now - RECENT and not all(map(is_rehearsed, one.ids)):
                    cleared = {"endpoint": name, "cleared": sorted(one.ids), "reason": one.reason}
                    found.append(notices.of_rearm(cleared, one.at))
        for release in (await self._keeper.run(lambda database: database.read(releases.newest))).values():
            if release.since > now - RECENT:
                step: dict[str, object] = {
                    "endpoint": release.endpoint, "release": release.id, "phase": release.phase.value,
                    "stage": release.stage, "candidate": release.candidate, "reason": release.reason,
                    "steps": release.steps, "at": iso(release.since),
                }  # fmt: skip
                found.append(notices.of_release(step, release.since))
        return sorted(found, key=lambda notice: notice.at)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.write(work))

    async def close(self) -> None:
        """Let the connections go."""
        await self._delivery.close()

    # Delivery.

    def _enter(self, entry: Entry) -> None:
        if entry.key not in self.waiting:
            return  # it was dropped meanwhile
        lane = entry.receiver, entry.notice.endpoint
        self._lanes[lane].append(entry)
        if lane not in self._busy:
            self._busy.add(lane)
            self._tasks.spawn(self._follow(lane), f"notify {entry.receiver}")

    async def _follow(self, lane: Lane) -> None:
        """Deliver what is in `lane`, one after the other, until it is empty."""
        entries = self._lanes[lane]
        try:
            while entries:
                outcome = await self._deliver(entries[0])
                self._settle(entries.popleft(), outcome)
        finally:
            self._busy.discard(lane)
            if not entries:
                self._lanes.pop(lane, None)

    async def _deliver(self, entry: Entry) -> str:
        """Try until it is delivered or given up; how it ended."""
        attempts, began, name = 0, self._clock.monotonic(), entry.receiver
        while entry.key in self.waiting:
            attempts += 1
            try:
                attempt = await self._attempt(entry)
            except UnknownReceiver:
                return REMOVED
            except Exception as error:
                # A mistake of ours with one of them must not silence what waits behind it.
                log.exception("notification not made")
                attempt = Attempt(Fate.AGAIN, detail=f"it cannot be made: {type(error).__name__}")
            if attempt.fate is Fate.DELIVERED:
                return DELIVERED
            self.failures[name] += 1
            about = {"receiver": name, "notice": entry.notice.id, "topic": entry.notice.topic,
                     "endpoint": entry.notice.endpoint, "reason": attempt.detail}  # fmt: skip
            if attempt.fate is Fate.REFUSED:
                note(log, logging.ERROR, "notification refused", **about)
                return REFUSED
            if self._clock.monotonic() - began >= self.pace.patience:
                note(log, logging.ERROR, "notification given up", attempts=attempts, **about)
                return GIVEN_UP
            if attempts == 1:
                note(log, logging.WARNING, "notification not delivered yet", **about)
            await asyncio.sleep(self.pace.pause(attempts, self._draw(), attempt.wait))
        return DROPPED

    async def _attempt(self, entry: Entry) -> Attempt:
        """Raises UnknownReceiver."""
        try:
            message, destination = self._message(entry)
        except ConfigError as error:
            return Attempt(Fate.AGAIN, detail=str(error))
        gate = self._gates.setdefault(entry.receiver, asyncio.Semaphore(AT_ONCE))
        async with gate:
            return await self._delivery.post(
                message, entry.notice.id, self._clock.wall(), allow_private=destination.allow_private
            )

    def _message(self, entry: Entry) -> tuple[Message, Destination]:
        """What is sent by the settings that are in force. Raises UnknownReceiver, and ConfigError."""
        name = entry.receiver
        if name.startswith(TRAINER):
            endpoint = name.removeprefix(TRAINER)
            judge = self._board.judges.get(endpoint)
            retrain = None if judge is None else judge.settings.retrain
            if retrain is None:
                raise UnknownReceiver(f"nothing trains {endpoint} any more")
            held = Credentials(*training_secrets(endpoint, retrain, self._environment))
            return training.message(retrain, entry.notice, held), retrain.destination
        receiver = self._receiver(name)
        held = Credentials(*receiver_secrets(receiver, self._environment))
        return formats.message(receiver, entry.notice, held), receiver.destination

    def _receiver(self, name: str) -> Receiver:
        for receiver in self._board.settings.notifications:
            if receiver.name == name:
                return receiver
        known = ", ".join(one.name for one in self._board.settings.notifications) or "none"
        raise UnknownReceiver(f"no receiver is called {name!r}; configured: {known}")

    def _settle(self, entry: Entry, outcome: str) -> None:
        if self.waiting.pop(entry.key, None) is None:
            return  # it was dropped, and that is how it ended
        self.outcomes[entry.receiver, outcome] += 1
        self._settled.append((entry, outcome))
        self._told.set()
        if outcome == DELIVERED:
            note(log, logging.INFO, "notified", receiver=entry.receiver, topic=entry.notice.topic,
                 endpoint=entry.notice.endpoint, notice=entry.notice.id)  # fmt: skip

    # What operators ask for.

    async def test(self, name: str) -> Attempt:
        """Send a test to receiver `name`, at once and once. Raises UnknownReceiver, and ConfigError."""
        self._receiver(name)
        self._tests += 1
        notice = notices.of_test(name, self._clock.wall(), f"{self._clock.wall()!r} {self._tests}")
        entry = Entry(name, notice)
        self._message(entry)
        return await self._attempt(entry)

    def overview(self) -> list[dict[str, object]]:
        """Every receiver with what waits for it. Nothing secret is in it."""
        now = self._clock.wall()
        found = []
        for receiver in self._board.settings.notifications:
            ages = [now - one.notice.at for one in self.waiting.values() if one.receiver == receiver.name]
            found.append({
                "name": receiver.name, "kind": str(receiver.kind), "on": sorted(receiver.on),
                "endpoints": sorted(receiver.endpoints), "waiting": len(ages),
                "oldest_seconds": max(0.0, *ages, 0.0),
                "outcomes": {outcome: self.outcomes[receiver.name, outcome] for outcome in OUTCOMES},
                "failed_attempts": self.failures[receiver.name],
            })  # fmt: skip
        return found
