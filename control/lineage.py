"""What each version was made of: asked of the registries again and again, the last answer kept.

A registry is somebody else's server. While it cannot be asked, what it said last stays and is marked stale,
with the time since when; it is kept in the store too, so that a restart does not forget it. When it does
answer and has no such record (an alias that points nowhere, a version that was deleted), there is none, and
that is shown as such: nothing is made up from what was true before.

Nothing here is in the way of a request or of a trip, and no decision about traffic waits for a registry.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from control.clock import Clock, iso
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from domain.errors import ConfigError, LineageUnknown, PointsmanError, StateUnavailable
from domain.lineage import Lineage, changes
from domain.reference import Reference
from domain.routing import Arm
from registry.catalog import Catalog
from settings.registries import RegistrySettings
from settings.schema import Settings

TICK = 0.5
"""Seconds between two looks at whether the configuration is another, or a poll is due."""

AT_ONCE = 8
"""Versions that are asked about at the same time."""

NONE, WAITING, KNOWN, STALE = "none", "waiting", "known", "stale"

References = tuple[Reference, ...]
Changed = Callable[[str, Arm, Lineage | None, Lineage | None], None]
"""Called with endpoint, arm, and the record before and after; must not raise or block."""

log = logging.getLogger("pointsman.lineage")


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of the lineage of one version.

    Attributes:
        references: where it is asked for.
        record: what the registries said last; None: nothing.
        gaps: why some of the references gave nothing.
        problem: why there is no record, or why it is not what the registries have now; None: it is.
        confirmed_at: when the registries last answered, seconds since the epoch; None: never.
        stale_since: when they could first not be asked after that; None: they could.
    """

    references: References = ()
    record: Lineage | None = None
    gaps: tuple[str, ...] = ()
    problem: str | None = None
    confirmed_at: float | None = None
    stale_since: float | None = None

    @property
    def condition(self) -> str:
        """`known`; `stale`: as it was last heard; `waiting`: never heard; `none`: there is no lineage."""
        if self.stale_since is not None:
            return WAITING if self.record is None and self.confirmed_at is None else STALE
        if self.record is not None:
            return KNOWN
        return WAITING if self.references and self.confirmed_at is None else NONE


class Remembered(msgspec.Struct, frozen=True):
    """What is kept of one record between two lives; `versions` are the names that it was told of."""

    record: Lineage
    confirmed_at: float
    gaps: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


class Asked(NamedTuple):
    """Whose lineage it is: a version by its name, which may be another after a reload."""

    endpoint: str
    arm: Arm
    version: str


NOTHING = Held(problem="no lineage is configured for this version")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Remembered)


class LineageDesk:
    """Follows the registries that the switchboard's settings name. `opener` opens them."""

    def __init__(
        self,
        switchboard: Switchboard,
        keeper: Keeper,
        clock: Clock,
        opener: Callable[[RegistrySettings, Mapping[str, str]], Catalog] = Catalog.open,
    ) -> None:
        self._switchboard = switchboard
        self._keeper = keeper
        self._clock = clock
        self._opener = opener
        self._catalog: Catalog | None = None
        self._opened: RegistrySettings | None = None
        self._refusal: ConfigError | None = None
        self._held: dict[References, Held] = {}
        self._told: dict[Asked, Lineage | None] = {}
        self._kept: dict[References, Remembered] = {}
        self._reactions: list[Changed] = []
        self._looking = asyncio.Lock()
        self._due = 0.0
        self._settings: Settings | None = None

    def of(self, endpoint: str, arm: Arm) -> Held:
        """What is known of the version that `arm` of `endpoint` is now. Raises UnknownEndpoint."""
        settings = self._switchboard.judge(endpoint).settings
        references = settings.incumbent_lineage if arm is Arm.INCUMBENT else settings.candidate_lineage
        return self._held.get(references) or (Held(references) if references else NOTHING)

    def react(self, changed: Changed) -> None:
        """Call `changed` whenever what is known of a version becomes another record, or none."""
        self._reactions.append(changed)

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take what an earlier life kept, for versions that no registry has answered for in this one."""
        asked = tuple(_asked(self._switchboard.settings))
        for references in {references for _, references in asked}:
            held = self._held.get(references, Held(references))
            kept = states.get(_name(references))
            if kept is None or held.confirmed_at is not None:
                continue
            try:
                found = _decoder.decode(kept)
            except msgspec.MsgspecError as error:
                note(log, logging.WARNING, "kept lineage cannot be read", reason=str(error))
                continue
            self._held[references] = Held(
                references,
                found.record,
                found.gaps,
                held.problem or "the registries have not been asked since the start",
                found.confirmed_at,
                held.stale_since or self._clock.wall(),
            )
            for one, of in asked:
                if of == references and one.version in found.versions and self._told.get(one) is None:
                    self._told[one] = found.record

    async def watch(self) -> None:
        """Ask for ever."""
        while True:
            settings = self._switchboard.settings
            if settings is not self._settings or self._clock.monotonic() >= self._due:
                await self.look()
            await asyncio.sleep(min(TICK, settings.registry.poll))

    async def look(self) -> None:
        """Ask for the lineage of every version that is configured now."""
        async with self._looking:
            settings = self._settings = self._switchboard.settings
            await self._open(settings.registry)
            asked = tuple(_asked(settings))
            wanted = dict.fromkeys(references for _, references in asked)
            few = asyncio.Semaphore(AT_ONCE)
            found = await asyncio.gather(*(self._ask(references, few) for references in wanted))
            self._held = dict(zip(wanted, found, strict=True))
            self._due = self._clock.monotonic() + settings.registry.poll
            if settings is not self._switchboard.settings:
                # Another configuration came meanwhile: it has its own versions, and is asked about next.
                return
            for one, references in asked:
                self._tell(one, self._held[references])
            await self._keep(*(held for held in found if self._is_news(held)))

    async def end(self) -> None:
        """Keep when everything was last confirmed, and let the registries go."""
        await self._keep(*self._held.values())
        await self._close()

    async def _close(self) -> None:
        catalog, self._catalog, self._opened = self._catalog, None, None
        if catalog is not None:
            await catalog.close()

    async def _open(self, registry: RegistrySettings) -> None:
        if registry == self._opened:
            return
        await self._close()
        try:
            self._catalog, self._refusal = self._opener(registry, os.environ), None
            self._opened = registry
        except ConfigError as error:
            self._refusal = error

    async def _ask(self, references: References, few: asyncio.Semaphore) -> Held:
        async with few:
            try:
                if self._catalog is None:
                    raise self._refusal or StateUnavailable("no registry is open")
                found = await self._catalog.lookup(references)
            except LineageUnknown as error:
                return Held(references, problem=str(error), confirmed_at=self._clock.wall())
            except (StateUnavailable, ConfigError) as error:
                return self._stale(self._held.get(references, Held(references)), error)
        before = self._held.get(references, Held(references))
        if before.stale_since is not None:
            note(log, logging.INFO, "lineage fresh again", references=_written(references))
        return Held(references, found.record, found.gaps, None, self._clock.wall(), None)

    def _stale(self, before: Held, error: PointsmanError) -> Held:
        if before.problem != str(error):
            note(
                log,
                logging.WARNING,
                "lineage stale",
                references=_written(before.references),
                reason=str(error),
            )
        return replace(before, problem=str(error), stale_since=before.stale_since or self._clock.wall())

    async def _keep(self, *several: Held) -> None:
        wanted = {
            one.references: Remembered(one.record, one.confirmed_at, one.gaps, self._versions(one))
            for one in several
            if one.record is not None and one.confirmed_at is not None
        }
        if not wanted:
            return
        states = {_name(references): _encoder.encode(one) for references, one in wanted.items()}
        try:
            await self._keeper.checkpoint(states, {})
            self._kept |= wanted
        except StateUnavailable as error:
            # It is asked for again anyway; only a restart during an outage would not know it.
            note(log, logging.WARNING, "lineage not kept", reason=str(error))

    def _is_news(self, held: Held) -> bool:
        """Whether what is kept of it says something else."""
        kept = self._kept.get(held.references)
        return kept is None or (kept.record, kept.gaps, kept.versions) != (
            held.record,
            held.gaps,
            self._versions(held),
        )

    def _versions(self, held: Held) -> tuple[str, ...]:
        """The versions that the record was told of."""
        asked = _asked(self._switchboard.settings)
        told = {one for one, references in asked if references == held.references}
        return tuple(sorted({one.version for one in told if self._told.get(one) == held.record}))

    def _tell(self, one: Asked, held: Held) -> None:
        before = self._told.get(one)
        self._told[one] = held.record
        if before == held.record:
            return
        told = {
            "endpoint": one.endpoint,
            "arm": one.arm.value,
            "references": list(map(str, held.references)),
            "before": None if before is None else before.version,
            "after": None if held.record is None else held.record.version,
            "changed": list(changes(before, held.record)),
            "at": iso(self._clock.wall()),
        }
        note(log, logging.INFO, "lineage changed", **told)
        self._switchboard.events.tell("lineage", told)
        for changed in self._reactions:
            changed(one.endpoint, one.arm, before, held.record)


def _asked(settings: Settings) -> Iterator[tuple[Asked, References]]:
    """Every version that has references, and they."""
    for one in settings.endpoints:
        if one.incumbent_lineage:
            yield Asked(one.name, Arm.INCUMBENT, one.incumbent.name), one.incumbent_lineage
        if one.candidate is not None and one.candidate_lineage:
            yield Asked(one.name, Arm.CANDIDATE, one.candidate.name), one.candidate_lineage


def _name(references: References) -> str:
    """The name under which a record is kept: it is good for its references only."""
    return f"lineage:{_written(references)}"


def _written(references: References) -> str:
    return " + ".join(map(str, references))
