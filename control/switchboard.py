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
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from control import records, rehearsing
from control.audit_recorder import Recorder, numbers
from control.clock import Clock
from control.events import Events
from control.generations import Generations
from control.identity import NOBODY, Identity
from control.judge import Judge
from control.keeper import Keeper, Kept
from control.link import Link
from control.log import note
from control.newsdesk import NewsDesk
from control.references import References
from control.rehearsing import OpenDrill
from control.settling import Settling
from control.sharing import Alone, Sharing
from control.tallies import Tallies
from control.trip import OPERATOR, Fallen, Settled, story
from domain.errors import PointsmanError, StaleRearm, StateUnavailable
from domain.kill import Clearance, Kill
from domain.routing import Mode
from domain.snapshot import Endpoint, Snapshot
from gates import plan
from killswitch.guards import GuardReport
from killswitch.replication import Copy, by_endpoint
from killswitch.state import KillState
from killswitch.stores.database import keep_clearance
from routing.rollout import own_weight
from settings import snapshot as snapshots
from settings.schema import DRIVEN_BY_UNLEASH, EndpointSettings, Settings
from shadow.tasks import Tasks

NOT_READ = "the kept state is not read yet"

NO_FLAGS = b'{"version":1,"features":[]}'
"""Exposes nobody."""

log = logging.getLogger("pointsman.switch")


class UnknownEndpoint(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """No endpoint of this name is configured."""


class Switchboard:
    """Kill states, judges, flags and configuration; every change of them makes a new snapshot.

    `unreadable` says why the kept state is unknown, None once it was read; `sharing` is the way to the other
    replicas.
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
        recorder: Recorder,
        references: References,
    ) -> None:
        """`references`: what the drift of each endpoint's requests is measured against, where files say so.

        Raises ConfigError when an endpoint's comparison or guards make no sense.
        """
        self.settings = settings
        self.unreadable: str | None = NOT_READ
        self.flags = NO_FLAGS
        self.generations = Generations()
        self.link = link
        self.keeper = keeper
        self.events = events
        self.tallies = tallies
        self.recorder = recorder
        self.sharing: Sharing = Alone()
        self._clock = clock
        self._tasks = tasks
        self.changing = asyncio.Lock()
        self._reserving = False
        self._changed: set[str] = set()
        self._copies: dict[str, Copy] = {}
        self.kept_logs: dict[str, bytes] = {}
        self.rehearsals: dict[str, OpenDrill] = {}
        self.judges = {one.name: self._judge(one, references) for one in settings.endpoints}
        self.news = NewsDesk(self, clock, tasks)
        self._settling = Settling(self, tasks)
        self.snapshot = self._build(0)
        _tell_inert(settings)

    def judge(self, name: str) -> Judge:
        """The judge of the endpoint `name`. Raises UnknownEndpoint."""
        try:
            return self.judges[name]
        except KeyError:
            known = ", ".join(sorted(self.judges)) or "none"
            raise UnknownEndpoint(f"no endpoint is called {name!r}; configured: {known}") from None

    @property
    def trials(self) -> dict[str, Judge]:
        """The judges of the real trials, those that a drill has set aside included."""
        return self.judges | {name: one.real for name, one in self.rehearsals.items() if name in self.judges}

    def trial(self, name: str) -> Judge | None:
        """The judge of the real trial of `name`."""
        rehearsal = self.rehearsals.get(name)
        return self.judges.get(name) if rehearsal is None else rehearsal.real

    def rehearses(self, name: str) -> bool:
        """Whether the candidate of `name` answers badly, or is out, because of nothing but a drill."""
        return name in self.rehearsals or rehearsing.only_rehearsed(self.kill_state(name).uncleared)

    def kill_state(self, name: str) -> KillState:
        """The kills and clearances of the endpoint `name`."""
        return self.copy(name).state

    def copy(self, name: str) -> Copy:
        """The same with what it takes to hand them on."""
        return self._copies.get(name, Copy())

    def know(self, name: str, copy: Copy) -> None:
        """`copy` is what is known of the endpoint `name`; it holds all that was known before."""
        self._copies[name] = copy

    @property
    def killable(self) -> tuple[str, ...]:
        """The endpoints that have a switch: those configured, and those that were and have kills."""
        return tuple(sorted(self.judges.keys() | self._copies.keys()))

    def tripped(self, name: str) -> bool:
        """Whether the candidate of `name` is out."""
        return self.unreadable is not None or self.kill_state(name).tripped

    # The life of the kept state.

    def restore(self, kept: Kept) -> None:
        """Go on from what an earlier life kept."""
        for name, copy in by_endpoint(kept.kills, kept.clearances).items():
            mine = self.copy(name)
            self._copies[name] = Copy(mine.state.merge(copy.state), mine.clearances | copy.clearances)
        for name, judge in self.judges.items():
            state = kept.states.get(records.name(name))
            if state is not None:
                self._restore_judge(name, judge, state)
            judge.evidence_since = max(1, judge.evidence_since)
        self.unreadable = None
        self.publish()
        self._observe("endpoint.restored", "process")
        for name, judge in self.judges.items():
            breach = judge.guards.breach
            if breach is not None and not self.tripped(name):
                self.breached(name, breach)

    def _restore_judge(self, name: str, judge: Judge, state: bytes) -> None:
        judge.evidence_since = self.generations.last + 1
        try:
            record = records.decode(state)
            self.kept_logs[name] = record.log
            anew = judge.restore(record, len(self.kill_state(name).cleared))
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
        for name, judge in self.trials.items():
            if records.name(name) in changed:
                states[records.name(name)] = self._kept_state(name, judge)
        return states

    def _kept_state(self, name: str, judge: Judge) -> bytes:
        record = judge.record(len(self.kill_state(name).cleared))
        return records.encode(msgspec.structs.replace(record, log=self.sharing.kept(name)))

    async def keep_aside(self, name: str) -> None:
        """Keep the trial of `name` as one that is set aside, before it is. Raises StateUnavailable."""
        judge = self.judge(name)
        judge.aside = True
        try:
            await self.keeper.checkpoint({records.name(name): self._kept_state(name, judge)}, {})
        except StateUnavailable:
            judge.aside = False
            raise

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

    def take_out(self, name: str) -> None:
        """Before anything else, and follow with `publish`: what a snapshot costs depends on all endpoints."""
        self.link.take_out(name, self.generations.last + 1)

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
        endpoints = tuple(self.endpoint(one) for one in self.settings.endpoints)
        settings = self.settings
        return Snapshot(
            generation,
            endpoints,
            self.flags,
            settings.digest,
            snapshots.lookup(settings),
            settings.environment,
            settings.app_name,
        )

    def endpoint(self, settings: EndpointSettings) -> Endpoint:
        """The endpoint of `settings` as a snapshot says it now."""
        if settings.candidate is None or self.tripped(settings.name):
            tripped = self.tripped(settings.name)
            return snapshots.endpoint(settings, mode=Mode.SHADOW, weight=0, tripped=tripped)
        stage = self.judges[settings.name].stage
        weight = stage.weight
        if weight and settings.drive == DRIVEN_BY_UNLEASH and settings.flag is not None:
            weight = own_weight(self.flags, settings.flag, weight)
        endpoint = snapshots.endpoint(settings, mode=stage.mode, weight=weight, tripped=False)
        rehearsal = self.rehearsals.get(settings.name)
        return endpoint if rehearsal is None else replace(endpoint, drill=rehearsal.drill)

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
        self,
        name: str,
        actor: str,
        cause: str,
        reason: str,
        breach: GuardReport | None = None,
        made: tuple[str, float] | None = None,
        authentication: str = "",
    ) -> Fallen:
        """Take the candidate of `name` out, now. Follow with `settle`. Raises UnknownEndpoint.

        `made`: id and wall time of the kill, where several replicas find the same breach by themselves.
        `authentication`: how it is known that it was `actor`.
        """
        began, at = self._clock.monotonic(), self._clock.wall()
        judge = self.judge(name)
        first = not self.tripped(name)
        rehearsal = self.rehearsals.get(name)
        staged = None if made is not None or cause == OPERATOR else rehearsal
        if rehearsal is not None and staged is None:
            judge = rehearsal.real  # whose story it is
        unique, at = made or (str(uuid.uuid4()) if staged is None else staged.kill_id(), at)
        kill = Kill(unique, name, actor, reason, at, judge.candidate)
        self._copies[name], news = self.copy(name).killed(kill)
        self.take_out(name)
        try:
            self.sharing.ring(name, news)
        finally:  # whatever may be wrong with the way to the others
            generation = self.publish().generation
        evidence = None if breach is None else numbers(breach)
        self.recorder.tripped(kill, cause, evidence, authentication=authentication)
        if first:
            judge.evidence_since = generation
            judge.last_trip = story(kill, cause, generation, self._clock.wall(), judge.last_served_at, breach)
            self.tallies.trips[name, cause if staged is None else "drill"] += 1
        self.touch(name)
        fallen = Fallen(kill, generation, cause, began, first, self._clock.monotonic())
        if staged is not None:
            staged.fell(fallen, breach)
        elif rehearsal is not None:
            rehearsal.call_off(f"killed by {actor}: {reason}")
        return fallen

    async def settle(self, fallen: Fallen) -> Settled:
        """Make the kill durable, and known to the other replicas, while the workers confirm it; then tell."""
        return await self._settling.settle(fallen)

    def breached(self, name: str, breach: GuardReport, made: tuple[str, float] | None = None) -> None:
        """A guard failed: take the candidate out; `made` as for `trip`."""
        guard = f"guard:{breach.guard}"
        fallen = self.trip(name, guard, guard, breach.sentence, breach, made)
        self._tasks.spawn(self.settle(fallen), f"trip of {name}")

    async def kill(self, name: str, reason: str, who: Identity = NOBODY) -> Settled:
        """An operator's kill; answers when it is durable and confirmed, or could not be in time."""
        fallen = self.trip(name, who.name, OPERATOR, reason, authentication=who.authentication)
        return await self.settle(fallen)

    # In again.

    async def rearm(
        self, name: str, reason: str, ids: frozenset[str] | None, who: Identity = NOBODY
    ) -> tuple[frozenset[str], int]:
        """Clear the kills `ids` (None: those in force now); answers the ids and the new generation.

        Raises UnknownEndpoint, StaleRearm when other kills are in force, and StateUnavailable.
        """
        self.judge(name)
        seen = frozenset(kill.id for kill in self.kill_state(name).uncleared) if ids is None else ids
        async with self.changing:
            if self.unreadable is not None:
                raise StateUnavailable(self.unreadable)
            if name in self.rehearsals:
                raise StaleRearm("a drill is under way and clears its own kills: look again after its end")
            clearance = self.copy(name).rearming(Clearance(name, seen, who.name, reason, self._clock.wall()))
            guards = {one.guard: numbers(one) for one in self.judge(name).reports()}
            await self.sharing.rearm(clearance)
            try:
                await self.recorder.together(
                    lambda on: keep_clearance(on, clearance),
                    self.recorder.rearmed(clearance, guards, who.authentication),
                )
            except StateUnavailable as error:
                if self.sharing.alone:
                    raise
                raise StateUnavailable(
                    "cleared for all replicas, but not durable here, so that the candidate stays out "
                    f"at this one until it is: {error}"
                ) from error
            self._copies[name] = self.copy(name).kept(clearance)
            self.touch(name)
            state = self.kill_state(name)
            if state.tripped:
                newer = ", ".join(kill.id for kill in state.uncleared)
                raise StaleRearm(f"killed again meanwhile ({newer}): the candidate stays out")
            generation = self.begin_again(name)
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

    def cleared_drill(self, clearance: Clearance) -> None:
        """The kills that a drill caused are cleared, on disk already; its caller publishes."""
        self._copies[clearance.endpoint] = self.copy(clearance.endpoint).kept(clearance)
        if clearance.endpoint in self.judges:
            self.touch(clearance.endpoint)

    def rehearsed(self, actor: str) -> None:
        """A drill began or ended: record what is live differently for it."""
        self._observe("drill.staged", actor)

    def begin_again(self, name: str) -> int:
        """The candidate of `name` is in again, from shadow; answers the generation."""
        rehearsing.call_off(self, (name,), "re-armed meanwhile")
        self.judge(name).rearm(self.generations.last + 1)
        generation = self.publish().generation
        self._observe("release.restarted", "process")
        return generation

    def _observe(
        self, action: str, actor: str, evidence: Mapping[str, Mapping[str, object]] | None = None
    ) -> None:
        """Record what is another state of an endpoint than was recorded last."""
        self.recorder.observe(action, self.settings, self.judges, self.flags, actor=actor, evidence=evidence)

    def _may_move(self) -> bool:
        """A release takes no step that could not be recorded."""
        return self.recorder.failure is None

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
        reports = {one.guard: numbers(one) for one in judge.reports()}
        self._observe("stage.moved", "plan", {name: reports})

    def expose(self, flags: bytes) -> int:
        """Serve from the flag document `flags`; answers the generation."""
        if flags != self.flags:
            self.flags = flags
            self._changed.add(records.flags(self.settings))
            generation = self.publish().generation
            note(log, logging.INFO, "flags", bytes=len(flags), generation=generation)
            self.events.tell("flags", {"generation": generation})
            self._observe("flag.changed", "flags")
        return self.snapshot.generation

    def begin(self, settings: Settings, references: References) -> None:
        """Start with `settings` in place of those that this was made with: nothing was restored yet."""
        self.settings = settings
        self.judges = {one.name: self._judge(one, references) for one in settings.endpoints}

    async def reconfigure(self, settings: Settings, references: References, who: Identity = NOBODY) -> int:
        """Serve from `settings`, because `who` wants that; answers the generation.

        Nothing has changed when it raises ConfigError, or StateUnavailable: it could not be recorded.
        """
        # What the others have taken out is out here from the first request on; and once more afterwards,
        # since nothing is heard of an endpoint that is not there.
        added = [one.name for one in settings.endpoints if one.name not in self.judges]
        if added:
            await self.sharing.learn(added)
        generation = await self._reconfigured(settings, references, who)
        if added:
            await self.sharing.learn(added)
        return generation

    async def _reconfigured(self, settings: Settings, references: References, who: Identity) -> int:
        async with self.changing:
            if self.rehearsals:
                rehearsing.call_off(self, self.rehearsals, "the configuration was changed")
                self.publish()
            judges = {one.name: self._succeeding(one, references)[0] for one in settings.endpoints}
            await self._record_configuration(settings, judges, who)
            rehearsing.call_off(self, self.rehearsals, "the configuration was changed")
            # Evidence has come in meanwhile: it is taken over as it is now.
            judges = {}
            for one in settings.endpoints:
                judges[one.name], anew = self._succeeding(one, references)
                if anew is not None:
                    note(log, logging.WARNING, "evidence starts anew", endpoint=one.name, reason=anew)
            before, self.settings, self.judges = self.settings, settings, judges
            self._observe("endpoint.configured", "process")
            _tell_inert(settings)
            self.touch_again(map(records.name, judges))
            generation = self.publish().generation
        told = {"digest": settings.digest, "before": before.digest, "generation": generation}
        note(log, logging.INFO, "configuration", **told)
        self.events.tell("config", told)
        return generation

    async def _record_configuration(
        self, settings: Settings, judges: Mapping[str, Judge], who: Identity
    ) -> None:
        recorder = self.recorder
        if settings.digest == self.settings.digest:  # the file is the same: other versions are followed
            changed = recorder.changes("endpoint.followed", settings, judges, self.flags, actor="registry")
            await recorder.together(lambda on: None, *changed)
            recorder.seen(changed)
            return
        loaded, text = recorder.configured(self.settings, settings, who.name, who.authentication)
        changed = recorder.changes("endpoint.configured", settings, judges, self.flags, actor=who.name)
        await recorder.together(lambda on: None, loaded, *changed, text=text)
        recorder.seen(changed)

    def _succeeding(self, settings: EndpointSettings, references: References) -> tuple[Judge, str | None]:
        """The judge under `settings`, and why its evidence starts anew, if it does."""
        earlier = self.judges.get(settings.name)
        if earlier is not None and earlier.settings == settings:
            return earlier, None
        judge = self._judge(settings, references)
        return judge, None if earlier is None else judge.succeed(earlier)

    def _judge(self, settings: EndpointSettings, references: References) -> Judge:
        profile = references.get(settings.name, ())
        judge = Judge(settings, self.tallies, self._clock, self.generations.last + 1, profile)
        judge.may_move = self._may_move
        self.tallies.know(settings.name, (settings.incumbent.name, judge.candidate))
        versions = (settings.incumbent, settings.candidate)
        self.tallies.know_servers(str(one) for version in versions if version for one in version.upstreams)
        return judge


def _tell_inert(settings: Settings) -> None:
    """A guard or gate that is configured and not there must not go unnoticed."""
    if settings.inert:
        note(log, logging.WARNING, "accepted, not acted upon by this version", keys=list(settings.inert))
