"""The drift desk: follows what the prediction log draws, for every endpoint, and says how far it has moved.

Requests come from the log's process, once a second and bounded, so that no worker and no client pays for it.
They are counted here, in cells that a profile fixes, and added to the database every few seconds by hour,
endpoint and replica. What is asked for is read from there: so a restart goes on where it was, replicas that
share a database answer for all of them, and any window is a sum.

A profile is adopted once, in the transaction of its record in the audit chain, by whichever replica is first;
the others measure against the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection

from control import drift_sources, drift_view
from control.audit_recorder import Recorder
from control.clock import Clock
from control.drift_endpoint import AHEAD, NAMES_FROM, DriftOf, Kept, oldest
from control.drift_sources import Source
from control.drift_view import Shown
from control.events import Events
from control.identity import Identity
from control.keeper import Keeper
from control.lineage import LineageDesk
from control.log import note
from control.predictions import PredictionDesk
from control.switchboard import Switchboard, UnknownEndpoint
from domain.errors import ConfigError, StateUnavailable
from domain.routing import Arm
from monitoring.drift import hour as hours
from monitoring.drift import store
from monitoring.drift.drawing import Drawn
from monitoring.drift.hour import WEEK, Hour, hour_of
from monitoring.drift.profile import FEATURE, Profile
from monitoring.drift.store import Adopted
from settings.drift import LEARNED
from settings.schema import Settings

LOOK = 1.0
"""Seconds between two draws."""
KEEP = 5.0
"""Seconds between two times that counts are kept, and looks at what is measured against."""
LEARNING_KEPT = 60.0
"""Seconds between two times that requests are kept which a profile is learned from."""
SUMMED = 60.0
"""Seconds between two sums for the metrics, of the hours that the metrics are of."""
METRIC_HOURS = 24
PRUNED = 3600.0
RETRY = 60.0
"""Seconds between two times that a file is read which cannot be."""
DAY, MOST_HOURS = 24, 7 * 24

log = logging.getLogger("pointsman.drift")

T = TypeVar("T")


class _Reading(NamedTuple):
    """A file that is read, or was: what it was then, when that began (monotonic), why it failed before."""

    stamp: object
    task: asyncio.Task[Any]
    began: float
    failure: BaseException | None


class _Beaten(Exception):  # noqa: N818 - no mistake
    """Another replica has adopted a profile first."""


class _Counted(NamedTuple):
    """What `_shown` takes."""

    profile: Profile
    kept: list[tuple[int, bytes]]
    waiting: Mapping[int, Hour]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What the metrics tell of one endpoint: its columns as `drift_view` shows them, the furthest first."""

    columns: tuple[Shown, ...]
    rows: int


class DriftDesk:
    """Follows the endpoints that are configured."""

    def __init__(
        self,
        switchboard: Switchboard,
        predictions: PredictionDesk,
        lineage: LineageDesk,
        *,
        keeper: Keeper,
        events: Events,
        clock: Clock,
        replica: str,
    ) -> None:
        """`replica` names whose counts are kept."""
        self.summaries: dict[str, Summary] = {}
        self._board = switchboard
        self._predictions = predictions
        self._lineage = lineage
        self._keeper = keeper
        self._events = events
        self._clock = clock
        self._replica = replica
        self._recorder: Recorder = switchboard.recorder
        self._settings: Settings | None = None
        self._endpoints: dict[str, DriftOf] = {}
        self._readings: dict[tuple[str, str], _Reading] = {}
        self._files = asyncio.Lock()
        self._digests: dict[str, tuple[object, str]] = {}
        self._turn = asyncio.Lock()
        self._due = {"keep": 0.0, "learning": 0.0, "sum": 0.0, "prune": 0.0}
        self._began = clock.wall(), clock.monotonic()
        self._kept_states: Mapping[str, bytes] = {}

    @property
    def endpoints(self) -> Mapping[str, DriftOf]:
        """What is followed, by name."""
        return self._endpoints

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take what an earlier life kept of alarms, and of learning."""
        self._kept_states = states
        self._follow()
        for name, one in self._endpoints.items():
            self._restore(name, one)

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                await self.look()
            except StateUnavailable:
                pass  # counted and logged by the keeper; what was to be kept is kept here
            except Exception:
                # A mistake of ours with one endpoint must not end the drift of all.
                log.exception("drift not looked at")
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take what was drawn, and do what is due. Raises StateUnavailable."""
        async with self._turn:
            self._follow()
            for drawn in await self._predictions.drawn():
                try:
                    await self._take(drawn)
                except Exception:
                    # A mistake of ours with one endpoint must not end the drift of all.
                    log.exception("requests not counted: %s", drawn.endpoint)
            if self._is_due("keep", KEEP):
                for name, one in tuple(self._endpoints.items()):
                    await self._try_to_settle(name, one)
                await self._flush(learning=self._is_due("learning", LEARNING_KEPT))
            if self._is_due("prune", PRUNED):
                await self._write(lambda on: store.prune(on, oldest(self._now())))
            if self._is_due("sum", SUMMED):
                await self._sum()

    async def flush(self) -> None:
        """Keep everything now. Raises StateUnavailable."""
        async with self._turn:
            await self._flush(learning=True)

    async def view(self, name: str, wanted: int = DAY) -> Shown:
        """How far `name` has moved in the last `wanted` hours, this one included.

        Raises UnknownEndpoint, ConfigError (`wanted`), StateUnavailable.
        """
        self._board.judge(name)
        if not 1 <= wanted <= MOST_HOURS:
            raise ConfigError("hours", wanted, f"how many hours to look at, from 1 to {MOST_HOURS}")
        async with self._turn:
            self._follow()
            one = self._endpoints.get(name)
            if one is None:
                raise UnknownEndpoint(f"no endpoint is called {name!r}")
            shown = drift_view.endpoint(one)
            found = None if one.adopted is None else await self._counted(name, one, one.adopted, wanted)
        told = None if found is None else await asyncio.to_thread(_shown, *found)
        empty: Shown = {
            "window": None, "prior_week": None, "columns": [], "unknown_features": {}, "latency": None,
        }  # fmt: skip
        return shown | (told or empty)

    async def relearn(self, name: str, reason: str, who: Identity) -> Shown:
        """Retire the profile of `name` that was learned, and learn another one; what is followed then.

        Raises UnknownEndpoint, ConfigError where nothing was learned, and StateUnavailable: nothing has
        changed.
        """
        self._board.judge(name)
        async with self._turn:
            self._follow()
            one = self._endpoints[name]
            if one.settings.drift.reference != LEARNED:
                allowed = "what stands in a file is not learned: give another file, or leave the key out"
                raise ConfigError(f"endpoints.{name}.drift.reference", one.settings.drift.reference, allowed)
            before = "" if one.adopted is None else one.adopted.digest
            event = self._recorder.event(
                "drift.retired", "profile", name, actor=who.name, reason=reason, before=before,
                authentication=who.authentication,
            )  # fmt: skip
            at = self._clock.wall()
            await self._recorder.together(lambda on: store.retire(on, name, LEARNED, at), event)
            one.forget()
            self.summaries.pop(name, None)
            return drift_view.endpoint(one)

    # What is followed.

    def _follow(self) -> None:
        settings = self._board.settings
        if settings is self._settings:
            return
        self._settings = settings
        before, self._endpoints = self._endpoints, {}
        for one in settings.endpoints:
            found = self._endpoints[one.name] = DriftOf(one)
            earlier = before.get(one.name)
            if earlier is not None:
                found.succeed(earlier)
            else:
                self._restore(one.name, found)
        self.summaries = {name: one for name, one in self.summaries.items() if name in self._endpoints}
        self._readings = {
            key: one
            for key, one in self._readings.items()
            if key[0] in self._endpoints or not one.task.done()
        }

    def _restore(self, name: str, one: DriftOf) -> None:
        kept = self._kept_states.get(_state(name))
        if kept is None:
            return
        try:
            one.restore(msgspec.msgpack.decode(kept, type=Kept))
        except (msgspec.MsgspecError, ValueError) as error:
            note(log, logging.WARNING, "kept drift cannot be read", endpoint=name, reason=str(error))

    async def _take(self, drawn: Drawn) -> None:
        one = self._endpoints.get(drawn.endpoint)
        if one is None or not one.settings.log.share:
            return
        monotonic, wall = self._clock.monotonic(), self._clock.wall()
        begun = await asyncio.to_thread(one.take, drawn.rows, drawn.records, monotonic, wall)
        if begun and one.watch is not None and one.adopted is not None:
            reason = drift_view.sentence(one.watch.alarm().report.sentence)
            version = one.settings.incumbent.name
            note(log, logging.WARNING, "drift", endpoint=drawn.endpoint, reason=reason)
            self._events.tell(
                "drift",
                {
                    "endpoint": drawn.endpoint,
                    "version": version,
                    "reason": reason,
                    "profile": one.adopted.digest,
                },
            )

    # What is measured against.

    async def _try_to_settle(self, name: str, one: DriftOf) -> None:
        """Have what `one` is measured against; what is in the way is told as its problem."""
        if not one.settings.log.share:
            return
        try:
            held = self._lineage.of(name, Arm.INCUMBENT)
            source = drift_sources.source(one.settings.drift.reference, held)
            if source.path is None:
                await self._settle_learned(name, one)
            else:
                await self._settle_read(name, one, source)
        except (ValueError, StateUnavailable) as error:
            if one.problem != str(error):
                note(log, logging.WARNING, "no drift reference", endpoint=name, reason=str(error))
            one.problem = str(error)
        except Exception as error:
            log.exception("no drift reference: %s", name)
            one.problem = f"{type(error).__name__}: {error}"
        else:
            one.problem = None

    async def _settle_learned(self, name: str, one: DriftOf) -> None:
        there = await self._read_store(lambda on: store.current(on, name, LEARNED))
        if there is not None:
            one.adopt(there)
            return
        if one.adopted is not None:  # another replica was told to learn anew
            one.forget()
        wanted = one.settings.drift
        if one.learning.due(wanted.learn, wanted.over):
            profile = await asyncio.to_thread(one.learning.profile, wanted.categories)
            await self._adopt(name, one, profile, LEARNED)

    async def _settle_read(self, name: str, one: DriftOf, source: Source) -> None:
        path = source.path or ""
        stamp = source, await asyncio.to_thread(_stamp, path)
        known = self._digests.get(name)
        if known is not None and known[0] == stamp and one.source == known[1] and one.adopted is not None:
            return
        digest = self._aside(name, "digest", stamp, lambda: drift_sources.digest(source))
        if digest is None:
            return
        wanted = f"sha256:{digest}"
        there = await self._read_store(lambda on: store.current(on, name, wanted))
        if there is None:
            if one.adopted is None and one.learning.seen < NAMES_FROM:
                return
            features = set(one.learning.features()) if one.adopted is None else _features(one.adopted.profile)
            categories = one.settings.drift.categories
            found = self._aside(name, "profile", stamp, lambda: _profile(source, features, categories))
            if found is None:
                return
            profile, digest_then = found
            if digest_then != digest:  # it was written to meanwhile
                self._forget_read(name)
                return
            await self._adopt(name, one, profile, wanted)
        else:
            one.adopt(there)
        self._digests[name] = stamp, wanted
        self._forget_read(name)

    def _aside(self, name: str, step: str, stamp: object, work: Callable[[], T]) -> T | None:
        """What `work` answers, in a thread that nothing waits for; None while it is at it.

        What it raises is raised from then on, while it is tried again every RETRY.
        """
        reading = self._readings.get((name, step))
        failure = reading.failure if reading is not None and reading.stamp == stamp else None
        now = self._clock.monotonic()
        if reading is not None and reading.task.done() and reading.stamp == stamp:
            failure = reading.task.exception()
            if failure is None:
                found: T = reading.task.result()
                return found
        # One that is at it is waited for, be it of an earlier stamp: a thread cannot be stopped.
        if reading is None or (
            reading.task.done() and (reading.stamp != stamp or now - reading.began >= RETRY)
        ):
            task = asyncio.get_running_loop().create_task(
                self._one_by_one(work), name=f"drift {step} of {name}"
            )
            self._readings[name, step] = _Reading(stamp, task, now, failure)
        if failure is not None:
            raise failure
        return None

    async def _one_by_one(self, work: Callable[[], T]) -> T:
        """One file at a time is in memory, whatever is configured."""
        async with self._files:
            return await asyncio.to_thread(work)

    def _forget_read(self, name: str) -> None:
        for step in ("digest", "profile"):
            self._readings.pop((name, step), None)

    async def _adopt(self, name: str, one: DriftOf, profile: Profile, source: str) -> None:
        adopted = Adopted(profile, profile.digest, source, self._clock.wall())

        def adopt(on: Connection) -> None:
            if store.current(on, name, source) is not None:
                raise _Beaten
            store.adopt(on, name, adopted, self._replica)

        event = self._recorder.event(
            "drift.adopted", "profile", name, reason=profile.origin,
            before="" if one.adopted is None else one.adopted.digest,
            after={
                "digest": adopted.digest, "source": source, "origin": profile.origin, "rows": profile.rows,
                "columns": [column.name for column in profile.columns],
            },
        )  # fmt: skip
        try:
            await self._recorder.together(adopt, event)
        except _Beaten:
            return  # the next look finds it
        note(log, logging.INFO, "drift reference", endpoint=name, origin=profile.origin, rows=profile.rows)
        one.adopt(adopted)

    # What was counted.

    async def _flush(self, *, learning: bool) -> None:
        states: dict[str, bytes] = {}
        for name, one in tuple(self._endpoints.items()):
            if one.adopted is not None and one.hours:
                await self._flush_hours(name, one, one.adopted)
                states[_state(name)] = msgspec.msgpack.encode(one.keep())
            elif learning and one.adopted is None and one.learning.seen:
                states[_state(name)] = await asyncio.to_thread(msgspec.msgpack.encode, one.keep())
        if states:
            await self._keeper.checkpoint(states, {})

    async def _flush_hours(self, name: str, one: DriftOf, adopted: Adopted) -> None:
        taken, one.hours = one.hours, {}

        def keep(on: Connection) -> None:
            for number, hour in taken.items():
                store.add(on, name, adopted.digest, self._replica, number, hour)

        try:
            await self._write(keep)
        except StateUnavailable:
            one.put_back(taken)
            raise

    async def _counted(self, name: str, one: DriftOf, adopted: Adopted, wanted: int) -> _Counted:
        last = hour_of(self._clock.wall() + AHEAD)
        first = last - wanted + 1

        def read(on: Connection) -> list[tuple[int, bytes]]:
            before = store.between(on, name, adopted.digest, first - WEEK, min(last - WEEK, first - 1))
            return before + store.between(on, name, adopted.digest, first, last)

        kept = await self._read_store(read)
        waiting = {number: hours.total(adopted.profile, (hour,)) for number, hour in one.hours.items()}
        return _Counted(adopted.profile, kept, waiting, first, last)

    async def _sum(self) -> None:
        for name, one in tuple(self._endpoints.items()):
            if one.adopted is None:
                self.summaries.pop(name, None)
                continue
            found = await self._counted(name, one, one.adopted, METRIC_HOURS)
            shown = await asyncio.to_thread(_shown, *found)
            columns, window = shown["columns"], shown["window"]
            if isinstance(columns, list) and isinstance(window, dict):
                self.summaries[name] = Summary(tuple(columns), int(window["rows"]))

    def _is_due(self, what: str, every: float) -> bool:
        now = self._clock.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True

    def _now(self) -> float:
        """The wall clock, unless it was set forward meanwhile: what is forgotten does not come back."""
        wall, monotonic = self._began
        return min(self._clock.wall(), wall + self._clock.monotonic() - monotonic)

    async def _read_store(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.read(work))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.write(work))


def _shown(
    profile: Profile, kept: list[tuple[int, bytes]], waiting: Mapping[int, Hour], first: int, last: int
) -> Shown:
    found: dict[int, Hour] = {}
    for number, document in kept:
        try:
            hour = hours.restored(profile, document)
        except ValueError as error:
            note(log, logging.WARNING, "an hour of drift cannot be read", hour=number, reason=str(error))
            continue
        mine = found.get(number)
        found[number] = hour if mine is None else hours.total(profile, (mine, hour))
    for number, hour in waiting.items():
        mine = found.get(number)
        found[number] = hours.total(profile, (hour,) if mine is None else (mine, hour))
    window = [number for number in found if first <= number <= last]
    live = hours.total(profile, map(found.__getitem__, window))
    recent, before = hours.alike(window, found)
    alike = None
    if recent:
        both = [hours.total(profile, map(found.__getitem__, some)) for some in (recent, before)]
        alike = both[0], both[1]
    return drift_view.counts(profile, live, first, last, alike, last - first + 1)


def _profile(source: Source, features: set[str], categories: int) -> tuple[Profile, str]:
    """The profile of the file, and the digest of what it was made of. Raises ValueError."""
    found = drift_sources.read(source)
    return found.profile(source.origin, features, categories), found.digest


def _features(profile: Profile) -> set[str]:
    return {one.name.removeprefix(FEATURE) for one in profile.columns if one.name.startswith(FEATURE)}


def _stamp(path: str) -> tuple[int, int, int]:
    """What changes when the file does; zeros where it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _state(name: str) -> str:
    """The name under which what is no count is kept."""
    return f"drift:{name}"
