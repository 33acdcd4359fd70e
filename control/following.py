"""Following the model registry: aliases are looked at, versions taken, and every replica takes the same ones.

The leader asks the registry, and decides by `gates.following`. A version is used only when its servers
answer. What it decides is kept with its record in one transaction, under the fencing token; only then does
anything follow from it, and what follows is read off the database again and again, by the leader and
by others. So a change is made once, whoever is restarted or leads next, and replicas differ for a second.

* A registry that cannot be asked changes nothing.
* An alias is followed once it has named the same version for `settle` seconds: one that moves back and forth
  faster moves nothing.
* What is taken becomes the endpoint's candidate like any other: an open release of an earlier one is aborted,
  and the next one starts with its gates. A tripped switch stays tripped.

The configured incumbent is what is served when nothing is known, such as before the database is read.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from sqlalchemy import Connection

from control.clock import Clock, iso
from control.configuration import Configuration
from control.events import Events
from control.keeper import Keeper
from control.log import note
from control.releasing import ReleaseDesk
from control.switchboard import Switchboard
from domain.errors import PointsmanError, StateUnavailable
from domain.ports import Lease
from domain.routing import Version
from gates import followed, following
from gates.following import Followed, Heard
from gates.release import Phase
from gates.result import version_digest
from gates.server import ModelServer
from registry.rest import Rest
from registry.sources.mlflow import Mlflow
from settings import follow
from settings.follow import Standing
from settings.promotion import FollowSettings
from settings.registries import RegistryServer
from settings.schema import EndpointSettings, Settings
from settings.surroundings import registry_token

TICK = 1.0
"""Seconds between two looks at what is to be followed; the registry is asked as often as `registry.poll`."""

log = logging.getLogger("pointsman.following")


class Aliases(Protocol):
    """A registry's aliases; see `registry.sources.mlflow.Mlflow`."""

    async def named(self, model: str, alias: str) -> str | None:
        """The version that the alias names."""
        ...

    async def name(self, model: str, alias: str, version: str) -> None:
        """Let the alias name the version."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


def mlflow(server: RegistryServer) -> Aliases:
    """The aliases of MLflow. Raises ConfigError when its token is missing."""
    return Mlflow(Rest("MLflow", server, registry_token("mlflow", server, os.environ)))


class FollowDesk:
    """What every endpoint follows.

    Attributes:
        known: what was taken, by endpoint, as it was read last.
        problems: why an endpoint does not follow its registry now, by endpoint.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        configuration: Configuration,
        releases: ReleaseDesk,
        *,
        keeper: Keeper,
        lease: Lease,
        events: Events,
        clock: Clock,
        opener: Callable[[RegistryServer], Aliases] = mlflow,
    ) -> None:
        self.known: dict[str, Followed] = {}
        self.problems: dict[str, str] = {}
        self._switchboard = switchboard
        self._configuration = configuration
        self._releases = releases
        self._keeper = keeper
        self._lease = lease
        self._events = events
        self._clock = clock
        self._opener = opener
        self._aliases: tuple[RegistryServer, Aliases] | None = None
        self._heard: dict[tuple[str, str, str], tuple[str, float]] = {}
        self._due = 0.0
        self._turn = asyncio.Lock()
        configuration.followed, configuration.follows = self.placed, self.shown

    def placed(self, configured: Settings) -> Settings:
        """`configured` with what was taken in its place."""
        return following.placed(configured, self.known)

    async def restore(self) -> Settings:
        """What an earlier life, or another replica, has taken is in its place from the start on.

        Raises StateUnavailable.
        """
        configured = self._configuration.configured
        if any(one.follow is not None for one in configured.endpoints):
            self.known = await self._read()
        return self.placed(configured)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(TICK)

    async def look(self) -> None:
        """Take what the registry names, if this replica leads; serve what was taken."""
        if self._switchboard.unreadable is not None or not self._followers():
            self.problems.clear()
            return
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        try:
            self.known = await self._read()
            await self._configuration.refollow()
            if self._lease.held() is None:
                self.problems.clear()  # it is the leader's to say what is not followed
            elif self._clock.monotonic() >= self._due:
                self._due = self._clock.monotonic() + self._configuration.configured.registry.poll
                for endpoint in self._followers():
                    await self._follow_safely(endpoint)
                await self._configuration.refollow()
        except PointsmanError as error:
            note(log, logging.WARNING, "nothing is followed for now", reason=str(error))
        except Exception:
            # What was taken stays, and is looked at again.
            log.exception("nothing is followed for now")

    def standing(self, name: str) -> Standing | None:
        """What endpoint `name` follows; None where it follows nothing."""
        for one in self._followers():
            if one.name == name:
                return following.fresh(one, self.known.get(name)).standing
        return None

    async def end(self) -> None:
        """Let the registry go."""
        held, self._aliases = self._aliases, None
        if held is not None:
            await held[1].close()

    def _followers(self) -> tuple[EndpointSettings, ...]:
        """The endpoints that follow a registry, as they are configured."""
        return tuple(one for one in self._configuration.configured.endpoints if one.follow is not None)

    async def _follow_safely(self, endpoint: EndpointSettings) -> None:
        token = self._lease.held()
        if token is None or endpoint.follow is None:
            return
        try:
            problem = await self._follow(endpoint, endpoint.follow, token)
        except PointsmanError as error:
            problem = str(error)
        except ValueError as error:
            problem = f"the registry names what cannot be followed: {error}"
        except Exception as error:
            # A mistake of ours with one endpoint must not stop the others from following.
            problem = f"this should not have happened: {type(error).__name__}: {error}"
            log.exception("not followed", extra={"fields": {"endpoint": endpoint.name}})
        self._told(endpoint.name, problem)

    async def _follow(self, endpoint: EndpointSettings, wanted: FollowSettings, token: int) -> str:
        """Do what is due for `endpoint`; what is not followed, and why, "" when everything is."""
        heard = await self._settled(endpoint.name, wanted)
        if heard is None:
            return self.problems.get(endpoint.name, "")
        kept = self.known.get(endpoint.name)
        at = following.fresh(endpoint, kept)
        released = self._released(endpoint.name, at)
        if released is None:
            return self.problems.get(endpoint.name, "")
        decision = following.decide(at, heard, following.demanded(endpoint), released)
        if decision.followed.standing != at.standing:
            await self._demand_ready(endpoint, at, decision.followed)
            if self._released(endpoint.name, at) != released:
                return self.problems.get(endpoint.name, "")  # tripped meanwhile: decided anew
            await self._change(kept, decision.followed, token, "follow.changed")
            return decision.problem
        if wanted.promote and released:
            return await self._promote(endpoint, wanted, at, heard, token) or decision.problem
        return decision.problem

    async def _settled(self, name: str, wanted: FollowSettings) -> Heard | None:
        """What the aliases name, once they have for long enough; None while they have not."""
        aliases = await self._open()
        now, whole = self._clock.monotonic(), True
        found: dict[str, str] = {}
        for alias in filter(None, (wanted.candidate, wanted.incumbent)):
            number = await aliases.named(wanted.model, alias) or ""
            key = name, wanted.model, alias
            before, since = self._heard.get(key, (None, now))
            self._heard[key] = number, since if before == number else now
            whole = whole and now - self._heard[key][1] >= wanted.settle
            found[alias] = number
        incumbent = None if wanted.incumbent is None else found[wanted.incumbent]
        return Heard(found[wanted.candidate], incumbent) if whole else None

    def _released(self, name: str, at: Followed) -> str | None:
        """The candidate if its release is done, "" if not; None while that is not known here."""
        candidate = at.standing.candidate
        if not candidate:
            return ""
        settings = self._switchboard.judge(name).settings
        if settings.candidate is None:
            return ""
        found = self._releases.latest.get(name)
        if found is None:
            return None
        its = version_digest(settings.candidate, settings.path)
        if found.phase is not Phase.DONE or found.candidate_digest != its:
            return ""
        # Its roll-back is the next step: nothing rests on a release that is about to be undone.
        return None if self._releases.unsettled(found) else candidate

    async def _demand_ready(self, endpoint: EndpointSettings, at: Followed, to: Followed) -> None:
        """Raises GateError unless the servers of every version that is new answer."""
        wanted = endpoint.follow
        new = {to.standing.incumbent, to.standing.candidate} - {at.standing.incumbent, at.standing.candidate}
        for number in sorted(new - {""}):
            version = follow.version_of(endpoint, number)
            place = None
            if wanted is not None and wanted.health is not None:
                place = follow.filled(wanted.health, wanted.model, number)
            await demand_ready(version, endpoint, place)

    async def _change(self, kept: Followed | None, to: Followed, token: int, action: str) -> None:
        """Keep `to` with its record, and tell."""
        moved = replace(to, steps=(0 if kept is None else kept.steps) + 1, since=self._clock.wall())
        recorder, standing = self._switchboard.recorder, moved.standing
        event = recorder.event(
            action, "follow", moved.endpoint, actor="registry", reason=moved.reason,
            after={
                "model": standing.model, "candidate": standing.candidate, "incumbent": standing.incumbent,
                "former": list(moved.former), "promoted": moved.promoted,
            },
        )  # fmt: skip

        def keep(on: Connection) -> None:
            followed.change(on, moved, token)

        await recorder.together(keep, event)
        self.known = {**self.known, moved.endpoint: moved}
        told: dict[str, object] = {
            "endpoint": moved.endpoint, "model": standing.model, "candidate": standing.candidate,
            "incumbent": standing.incumbent, "reason": moved.reason, "at": iso(moved.since),
        }  # fmt: skip
        note(log, logging.INFO, "followed", **told)
        self._events.tell("follow", told)

    async def _promote(
        self, endpoint: EndpointSettings, wanted: FollowSettings, at: Followed, heard: Heard, token: int
    ) -> str:
        """Let the incumbent's alias name the candidate, whose release is done, once; why not, else ""."""
        found, number = self._releases.latest[endpoint.name], at.standing.candidate
        if wanted.incumbent is None or at.promoted == found.id or heard.incumbent == number:
            return ""
        same = following.demanded(endpoint)
        if heard.incumbent and not same(heard.incumbent, at.standing.incumbent):
            return (
                f"version {number} is released, but alias {wanted.incumbent} names version {heard.incumbent}"
                ", which is not the incumbent: it is left alone"
            )
        aliases = await self._open()
        if self._lease.held() != token or self._releases.unsettled(found):
            return ""
        # The alias first: it is the same when it is moved twice, and what was kept would not move it again.
        await aliases.name(wanted.model, wanted.incumbent, number)
        reason = f"release {found.id} is done: alias {wanted.incumbent} names version {number}"
        kept = self.known.get(endpoint.name)
        await self._change(kept, replace(at, promoted=found.id, reason=reason), token, "follow.promoted")
        return ""

    async def _open(self) -> Aliases:
        server = self._configuration.configured.registry.mlflow
        if server is None:
            raise StateUnavailable("registry.mlflow is not configured")
        if self._aliases is None or self._aliases[0] != server:
            await self.end()
            self._aliases = server, self._opener(server)
        return self._aliases[1]

    def _told(self, name: str, problem: str) -> None:
        before = self.problems.get(name, "")
        if problem == before:
            return
        if not problem:
            self.problems.pop(name, None)
            note(log, logging.INFO, "followed again", endpoint=name)
            return
        self.problems[name] = problem
        note(log, logging.WARNING, "not followed", endpoint=name, reason=problem)
        recorder = self._switchboard.recorder
        recorder.tell(recorder.event("follow.refused", "follow", name, actor="registry", result=problem))

    async def _read(self) -> dict[str, Followed]:
        return await self._keeper.run(lambda database: database.read(followed.every))

    def shown(self) -> Mapping[str, object]:
        """What is followed, by endpoint, as JSON."""
        return {
            one.name: {
                "model": standing.model, "candidate": standing.candidate or None,
                "incumbent": standing.incumbent or None, "problem": self.problems.get(one.name),
            }
            for one in self._followers()
            for standing in [following.fresh(one, self.known.get(one.name)).standing]
        }  # fmt: skip


async def demand_ready(version: Version, endpoint: EndpointSettings, place: str | None) -> None:
    """Raises GateError unless every server of `version` answers; see `ModelServer.demand_ready`."""
    async with ModelServer(version, endpoint.path, endpoint.timeout) as server:
        await server.demand_ready(place)
