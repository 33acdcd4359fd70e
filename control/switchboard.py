"""The switch of every endpoint: who is out, what the workers serve from, and the order in which that changes.

A kill is applied before it is kept: first in memory and, with the next snapshot, in the workers; then on
disk, while the workers confirm; then it is told. A re-arm is the other way round: it is on disk before any
worker hears of it. So whatever breaks in between, the candidate is rather out than in.

Kills take no lock and wait for nothing, so a kill wins over any re-arm or reload that is under way: those
look at the kill state again after their last wait. State that cannot be read counts as a kill of every
candidate; the incumbents are served all the same.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable

from control import records
from control.clock import Clock, iso
from control.events import Events
from control.generations import Generations
from control.judge import Judge
from control.keeper import Keeper, Kept
from control.link import Link
from control.log import note
from control.tallies import Tallies
from control.trip import OPERATOR, Fallen, Settled, story
from domain.errors import PointsmanError, StaleRearm, StateUnavailable
from domain.kill import Clearance, Kill
from domain.routing import Mode
from domain.snapshot import Endpoint, Snapshot
from gates import plan
from killswitch.guards import GuardReport
from killswitch.state import KillState
from settings import snapshot as snapshots
from settings.schema import EndpointSettings, Settings
from shadow.tasks import Tasks

NO_FLAGS = b'{"version":1,"features":[]}'
"""Exposes nobody."""

log = logging.getLogger("pointsman.switch")


class UnknownEndpoint(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """No endpoint of this name is configured."""


class Switchboard:
    """Kill states, judges, flags and configuration; every change of them makes a new snapshot.

    `unreadable` says why the kept state is unknown, None once it was read.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        link: Link,
        keeper: Keeper,
        events: Events,
        tallies: Tallies,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        """Raises ConfigError when an endpoint's comparison or guards make no sense."""
        self.settings = settings
        self.unreadable: str | None = "the kept state is not read yet"
        self.flags = NO_FLAGS
        self.generations = Generations()
        self.link = link
        self.keeper = keeper
        self.events = events
        self.tallies = tallies
        self._clock = clock
        self._tasks = tasks
        self._changing = asyncio.Lock()
        self._reserving = False
        self._changed: set[str] = set()
        self._kill_states: dict[str, KillState] = {}
        self.judges = {one.name: self._judge(one) for one in settings.endpoints}
        self.snapshot = self._build(0)
        _tell_inert(settings)

    def judge(self, name: str) -> Judge:
        """The judge of the endpoint `name`. Raises UnknownEndpoint."""
        try:
            return self.judges[name]
        except KeyError:
            known = ", ".join(sorted(self.judges)) or "none"
            raise UnknownEndpoint(f"no endpoint is called {name!r}; configured: {known}") from None

    def kill_state(self, name: str) -> KillState:
        """The kills and clearances of the endpoint `name`."""
        return self._kill_states.get(name, KillState())

    def tripped(self, name: str) -> bool:
        """Whether the candidate of `name` is out."""
        return self.unreadable is not None or self.kill_state(name).tripped

    # The life of the kept state.

    def restore(self, kept: Kept) -> None:
        """Go on from what an earlier life kept."""
        for kill in kept.kills:
            self._kill_states[kill.endpoint] = self.kill_state(kill.endpoint).kill(kill)
        for one in kept.clearances:
            cleared = KillState(cleared=one.ids)
            self._kill_states[one.endpoint] = self.kill_state(one.endpoint).merge(cleared)
        for name, judge in self.judges.items():
            state = kept.states.get(records.name(name))
            if state is not None:
                self._restore_judge(name, judge, state)
            judge.evidence_since = max(1, judge.evidence_since)
        self.unreadable = None
        self.publish()
        for name, judge in self.judges.items():
            breach = judge.guards.breach
            if breach is not None and not self.tripped(name):
                self.breached(name, breach)

    def _restore_judge(self, name: str, judge: Judge, state: bytes) -> None:
        judge.evidence_since = self.generations.last + 1
        try:
            anew = judge.restore(records.decode(state), len(self.kill_state(name).cleared))
        except ValueError as error:
            judge.progress = plan.rearmed(judge.settings.plan, self._clock.wall())
            anew = str(error)
        if anew is not None:
            note(log, logging.WARNING, "evidence starts anew", endpoint=name, reason=anew)

    def kept_states(self) -> dict[str, bytes]:
        """What has changed since this was last asked, as the store keeps it."""
        changed, self._changed = self._changed, set()
        flags = records.flags(self.settings)
        states = {flags: self.flags} if flags in changed else {}
        for name, judge in self.judges.items():
            if records.name(name) in changed:
                record = judge.record(len(self.kill_state(name).cleared))
                states[records.name(name)] = records.encode(record)
        return states

    @property
    def changed(self) -> bool:
        """Whether there is anything that the store does not have yet."""
        return bool(self._changed)

    def touch(self, name: str) -> None:
        """The endpoint `name` has to be kept anew."""
        self._changed.add(records.name(name))

    def touch_again(self, states: Iterable[str]) -> None:
        """What `kept_states` gave under these names was not kept."""
        self._changed.update(states)

    # Snapshots.

    def publish(self) -> Snapshot:
        """Push what is true now to every worker, as a new generation."""
        self.snapshot = self._build(self.generations.next())
        self.link.publish(self.snapshot)
        if self.generations.wanting and not self._reserving and self.unreadable is None:
            self._reserving = True
            self._tasks.spawn(self._reserve(), "reserve generations")
        return self.snapshot

    def greeted(self, generation: int) -> Snapshot:
        """The snapshot for a worker that serves from `generation`; a newer one for all if that is newer."""
        if generation > self.generations.last:
            self.generations.above(generation)
            self.publish()
        return self.snapshot

    def _build(self, generation: int) -> Snapshot:
        endpoints = tuple(self._endpoint(one) for one in self.settings.endpoints)
        return Snapshot(generation, endpoints, self.flags, self.settings.digest)

    def _endpoint(self, settings: EndpointSettings) -> Endpoint:
        if settings.candidate is None or self.tripped(settings.name):
            tripped = self.tripped(settings.name)
            return snapshots.endpoint(settings, mode=Mode.SHADOW, weight=0, tripped=tripped)
        stage = self.judges[settings.name].stage
        return snapshots.endpoint(settings, mode=stage.mode, weight=stage.weight, tripped=False)

    async def _reserve(self) -> None:
        try:
            count = self.generations.wanting
            if count:
                self.generations.block(await self.keeper.reserve(count), count)
        except StateUnavailable:
            return  # counted and logged by the keeper; the next snapshot tries again
        finally:
            self._reserving = False

    # Out.

    def trip(
        self, name: str, actor: str, cause: str, reason: str, breach: GuardReport | None = None
    ) -> Fallen:
        """Take the candidate of `name` out, now. Follow with `settle`. Raises UnknownEndpoint."""
        began, at = self._clock.monotonic(), self._clock.wall()
        judge = self.judge(name)
        first = not self.tripped(name)
        kill = Kill(str(uuid.uuid4()), name, actor, reason, at, judge.candidate)
        self._kill_states[name] = self.kill_state(name).kill(kill)
        generation = self.publish().generation
        if first:
            judge.evidence_since = generation
            judge.last_trip = story(kill, cause, generation, self._clock.wall(), judge.last_served_at, breach)
            self.tallies.trips[name, cause] += 1
        self.touch(name)
        return Fallen(kill, generation, cause, began, first)

    async def settle(self, fallen: Fallen) -> Settled:
        """Make the kill durable while the workers confirm it, then tell about it."""
        kill = fallen.kill
        durable, confirmed_at = await asyncio.gather(
            self.keeper.keep_kill(kill), self.link.confirmed(fallen.generation)
        )
        after = None if confirmed_at is None else max(0.0, confirmed_at - fallen.began)
        if fallen.first:
            self._confirmed(fallen, after)
        settled = Settled(
            kill,
            fallen.generation,
            None if after is None else after * 1000,
            len(self.link.workers),
            durable,
        )
        note(
            log, logging.WARNING, "kill", endpoint=kill.endpoint, kill=kill.id, actor=kill.actor,
            reason=kill.reason, version=kill.version, generation=fallen.generation,
            confirmed_ms=settled.confirmed_ms, durable=durable,
        )  # fmt: skip
        self.events.tell(
            "trip",
            {
                "endpoint": kill.endpoint, "kill": kill.id, "actor": kill.actor, "cause": fallen.cause,
                "reason": kill.reason, "at": iso(kill.at), "version": kill.version,
                "generation": fallen.generation, "confirmed_ms": settled.confirmed_ms, "durable": durable,
            },
        )  # fmt: skip
        return settled

    def _confirmed(self, fallen: Fallen, after: float | None) -> None:
        name = fallen.kill.endpoint
        judge = self.judges.get(name)
        if judge is not None and judge.last_trip is not None and judge.last_trip.kill == fallen.kill.id:
            if after is not None:
                judge.last_trip = judge.last_trip.confirmed(after)
                self.tallies.trip_seconds.of(name).add(after)
            self.touch(name)
            self._tasks.spawn(self._measure_recovery(judge, fallen.kill.id), f"recovery of {name}")

    async def _measure_recovery(self, judge: Judge, kill: str) -> None:
        """Answers that were under way at the trip arrive for one timeout more; then the figure is final."""
        await asyncio.sleep(judge.settings.timeout + 1.0)
        judge = self.judges.get(judge.settings.name, judge)
        trip = judge.last_trip
        if trip is not None and trip.kill == kill and trip.recovery is not None:
            self.tallies.recovery_seconds.of(judge.settings.name, "breach").add(trip.recovery)

    def breached(self, name: str, breach: GuardReport) -> None:
        """A guard failed: take the candidate out."""
        guard = f"guard:{breach.guard}"
        fallen = self.trip(name, guard, guard, breach.sentence, breach)
        self._tasks.spawn(self.settle(fallen), f"trip of {name}")

    async def kill(self, name: str, reason: str) -> Settled:
        """An operator's kill; answers when it is durable and confirmed, or could not be in time."""
        return await self.settle(self.trip(name, OPERATOR, OPERATOR, reason))

    # In again.

    async def rearm(self, name: str, reason: str, ids: frozenset[str] | None) -> tuple[frozenset[str], int]:
        """Clear the kills `ids` (None: those in force now); answers the ids and the new generation.

        Raises UnknownEndpoint, StaleRearm when other kills are in force, and StateUnavailable.
        """
        self.judge(name)
        seen = frozenset(kill.id for kill in self.kill_state(name).uncleared) if ids is None else ids
        async with self._changing:
            if self.unreadable is not None:
                raise StateUnavailable(self.unreadable)
            self.kill_state(name).rearm(seen)
            clearance = Clearance(name, seen, OPERATOR, reason, self._clock.wall())
            await self.keeper.keep_clearance(clearance)
            state = self.kill_state(name).merge(KillState(cleared=seen))
            self._kill_states[name] = state
            self.touch(name)
            if state.tripped:
                newer = ", ".join(kill.id for kill in state.uncleared)
                raise StaleRearm(f"killed again meanwhile ({newer}): the candidate stays out")
            self.judge(name).rearm(self.generations.last + 1)
            generation = self.publish().generation
        note(
            log,
            logging.WARNING,
            "rearm",
            endpoint=name,
            kills=sorted(seen),
            reason=reason,
            generation=generation,
        )
        told = {"endpoint": name, "cleared": sorted(seen), "reason": reason, "generation": generation}
        self.events.tell("rearm", told)
        return seen, generation

    # Everything else that changes.

    def moved(self, name: str) -> None:
        """The release of `name` went to its next stage."""
        judge = self.judges[name]
        self.touch(name)
        generation = self.publish().generation
        told: dict[str, object] = {
            "endpoint": name, "stage": judge.progress.stage, "mode": judge.stage.mode.value,
            "weight": judge.stage.weight / 10_000, "generation": generation,
        }  # fmt: skip
        note(log, logging.INFO, "stage", **told)
        self.events.tell("stage", told)

    def expose(self, flags: bytes) -> int:
        """Serve from the flag document `flags`; answers the generation."""
        if flags != self.flags:
            self.flags = flags
            self._changed.add(records.flags(self.settings))
            generation = self.publish().generation
            note(log, logging.INFO, "flags", bytes=len(flags), generation=generation)
            self.events.tell("flags", {"generation": generation})
        return self.snapshot.generation

    async def reconfigure(self, settings: Settings) -> int:
        """Serve from `settings`; answers the generation. Nothing has changed when it raises ConfigError."""
        async with self._changing:
            judges = {one.name: self._succeeding(one) for one in settings.endpoints}
            before, self.settings, self.judges = self.settings, settings, judges
            _tell_inert(settings)
            self.touch_again(map(records.name, judges))
            generation = self.publish().generation
        told = {"digest": settings.digest, "before": before.digest, "generation": generation}
        note(log, logging.INFO, "configuration", **told)
        self.events.tell("config", told)
        return generation

    def _succeeding(self, settings: EndpointSettings) -> Judge:
        earlier = self.judges.get(settings.name)
        if earlier is not None and earlier.settings == settings:
            return earlier
        judge = self._judge(settings)
        if earlier is not None:
            anew = judge.succeed(earlier)
            if anew is not None:
                note(log, logging.WARNING, "evidence starts anew", endpoint=settings.name, reason=anew)
        return judge

    def _judge(self, settings: EndpointSettings) -> Judge:
        judge = Judge(settings, self.tallies, self._clock, self.generations.last + 1)
        self.tallies.know(settings.name, (settings.incumbent.name, judge.candidate))
        versions = (settings.incumbent, settings.candidate)
        self.tallies.know_servers(str(one) for version in versions if version for one in version.upstreams)
        return judge


def _tell_inert(settings: Settings) -> None:
    """A guard or gate that is configured and not there must not go unnoticed."""
    if settings.inert:
        note(log, logging.WARNING, "accepted, not acted upon by this version", keys=list(settings.inert))
