"""After a trip the flag is switched off in Unleash too, so that people see it where they look.

This only tells: the candidate is out already, in every worker and on disk, and stays out whatever Unleash
says or is set to later. So it is done on the side, tried for two minutes, and given up with a reason. Where
changes take a request, Unleash answers 403, and a person has to switch the flag off.

Which kills were written back is kept, so that a control process that ended before it was done goes on with it
in its next life. A kill that another replica made is that replica's to write back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from control.clock import Clock, iso
from control.events import Event, Events
from control.flag_platform import FlagPlatform
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard, UnknownEndpoint
from control.unleash_admin import DEADLINE, PASSING, Refused, switch_off
from domain.errors import StateUnavailable
from domain.kill import is_rehearsed
from settings.schema import UnleashSettings
from shadow.tasks import Tasks

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
"""Seconds between attempts."""

OFF, REFUSED, GAVE_UP, REARMED = "off", "refused", "gave_up", "rearmed"
OUTCOMES = (OFF, REFUSED, GAVE_UP, REARMED)

__all__ = ["DEADLINE", "GAVE_UP", "OFF", "OUTCOMES", "PAUSES", "REARMED", "REFUSED", "Ended", "WriteBack"]

_KEPT = "written_back:"
"""Before an endpoint's name: under this the ids of its kills that were written back are kept."""

log = logging.getLogger("pointsman.flags")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the last write-back for one flag ended. `at` is wall clock, seconds since the epoch."""

    flag: str
    environment: str
    endpoint: str
    kill: str
    outcome: str
    reason: str
    attempts: int
    at: float

    def shown(self) -> dict[str, object]:
        """For the API and the events."""
        return {
            "flag": self.flag, "environment": self.environment, "endpoint": self.endpoint, "kill": self.kill,
            "outcome": self.outcome, "reason": self.reason, "attempts": self.attempts, "at": iso(self.at),
        }  # fmt: skip


class WriteBack:
    """Switches flags off after trips, for the server that `platform` follows.

    Attributes:
        outcomes: how many write-backs ended how.
        last: the last one of each flag.
    """

    def __init__(
        self,
        board: Switchboard,
        platform: FlagPlatform,
        keeper: Keeper,
        events: Events,
        clock: Clock,
        tasks: Tasks,
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.last: dict[str, Ended] = {}
        self._board = board
        self._platform = platform
        self._keeper = keeper
        self._done: dict[str, frozenset[str]] = {}
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._pauses = pauses
        self._busy: set[str] = set()
        events.react("trip", self._tripped)

    def resume(self, states: Mapping[str, bytes]) -> None:
        """Go on with what an earlier life did not finish; `states` are what it kept."""
        for name, kept in states.items():
            if name.startswith(_KEPT):
                self._done[name.removeprefix(_KEPT)] = _ids(kept)
        for endpoint in self._board.judges:
            undone = self._uncleared(endpoint) - self._done.get(endpoint, frozenset())
            if undone:
                self._begin(endpoint, max(undone))

    def _uncleared(self, endpoint: str) -> frozenset[str]:
        kills = self._board.kill_state(endpoint).uncleared
        return frozenset(kill.id for kill in kills if not is_rehearsed(kill.id))

    def _tripped(self, event: Event) -> None:
        endpoint, kill = str(event.data["endpoint"]), str(event.data["kill"])
        if is_rehearsed(kill):
            return  # over in seconds: nobody is to find the flag off
        if event.data.get("heard"):
            self._keep_done(endpoint, (kill,))  # the replica that killed does it
        else:
            self._begin(endpoint, kill)

    def _begin(self, endpoint: str, kill: str) -> None:
        desk = self._platform.unleash
        try:
            flag = self._board.judge(endpoint).settings.flag
        except UnknownEndpoint:  # removed from the configuration meanwhile
            return
        if desk is None or desk.server.admin_token_env is None or flag is None or flag in self._busy:
            return
        self._busy.add(flag)
        self._tasks.spawn(self._switch_off(desk.server, flag, endpoint, kill), f"switch off {flag}")

    async def _switch_off(self, server: UnleashSettings, flag: str, endpoint: str, kill: str) -> None:
        try:
            outcome, reason, attempts = await self._tried(server, flag, endpoint)
        finally:
            self._busy.discard(flag)
        ended = Ended(flag, server.environment, endpoint, kill, outcome, reason, attempts, self._clock.wall())
        if outcome == OFF:
            self._keep_done(endpoint, self._uncleared(endpoint))
        self.last[flag] = ended
        self.outcomes[outcome] += 1
        note(log, logging.INFO if outcome == OFF else logging.WARNING, "flag written back", **ended.shown())
        self._events.tell("flag_off", ended.shown())

    async def _tried(self, server: UnleashSettings, flag: str, endpoint: str) -> tuple[str, str, int]:
        reason = ""
        for attempt, pause in enumerate((*self._pauses, 0.0), 1):
            if not self._board.tripped(endpoint):
                return REARMED, "re-armed before Unleash could be told", attempt - 1
            try:
                await switch_off(server, flag)
            except Refused as error:
                return REFUSED, str(error), attempt
            except PASSING as error:
                reason = str(error) or type(error).__name__
                await asyncio.sleep(pause)
            else:
                return OFF, "", attempt
        return GAVE_UP, reason, len(self._pauses) + 1

    def _keep_done(self, endpoint: str, kills: Iterable[str]) -> None:
        """Those that were cleared meanwhile need not be known any more."""
        known = self._done.get(endpoint, frozenset()) & self._uncleared(endpoint)
        self._done[endpoint] = known.union(kills)
        self._tasks.spawn(self._keep(endpoint), f"keep write-back of {endpoint}")

    async def _keep(self, endpoint: str) -> None:
        done = msgspec.json.encode(sorted(self._done[endpoint]))
        try:
            await self._keeper.checkpoint({f"{_KEPT}{endpoint}": done}, {})
        except StateUnavailable:
            return  # counted and logged by the keeper; it is written back once more in the next life


def _ids(kept: bytes) -> frozenset[str]:
    try:
        return frozenset(msgspec.json.decode(kept, type=list[str]))
    except msgspec.MsgspecError:
        return frozenset()  # written back once more
