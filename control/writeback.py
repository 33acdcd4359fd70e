"""After a trip the flag is switched off in Unleash too, so that people see it where they look.

This only tells: the candidate is out already, in every worker and on disk, and stays out whatever Unleash
says or is set to later. So it is done on the side, tried for two minutes, and given up with a reason. Where
changes take a request, Unleash answers 403, and a person has to switch the flag off.

Source: Unleash's admin API, `POST .../environments/{environment}/off`, for a token that may update the flag.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import httpx

from control.clock import Clock, iso
from control.events import Event, Events
from control.flag_platform import FlagPlatform
from control.log import note
from control.switchboard import Switchboard, UnknownEndpoint
from domain.errors import ConfigError
from settings.schema import UnleashSettings
from settings.surroundings import admin_token
from shadow.tasks import Tasks

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
"""Seconds between attempts."""

DEADLINE = 5.0
"""Seconds for one attempt."""

OFF, REFUSED, GAVE_UP, REARMED = "off", "refused", "gave_up", "rearmed"
OUTCOMES = (OFF, REFUSED, GAVE_UP, REARMED)

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

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


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """Unleash will not do it; trying again would not help."""


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
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._pauses = pauses
        self._busy: set[str] = set()
        events.react("trip", self._tripped)

    def _tripped(self, event: Event) -> None:
        endpoint, kill = str(event.data["endpoint"]), str(event.data["kill"])
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
                await _off(server, flag)
            except Refused as error:
                return REFUSED, str(error), attempt
            except (httpx.HTTPError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                await asyncio.sleep(pause)
            else:
                return OFF, "", attempt
        return GAVE_UP, reason, len(self._pauses) + 1


async def _off(server: UnleashSettings, flag: str) -> None:
    """One attempt. Raises Refused, httpx.HTTPError and TimeoutError."""
    try:
        secret = admin_token(server, os.environ) or ""
    except ConfigError as error:
        raise Refused(str(error)) from error
    path = "/".join(
        quote(part, safe="")
        for part in ("projects", server.project, "features", flag, "environments", server.environment, "off")
    )
    headers = {"authorization": secret, "accept-encoding": "identity"}
    async with (
        asyncio.timeout(DEADLINE),
        httpx.AsyncClient(headers=headers, timeout=DEADLINE, follow_redirects=False) as client,
        client.stream("POST", f"{server.url}/admin/{path}") as answer,
    ):
        status = answer.status_code
    if 200 <= status < 300:
        return
    if status in _PASSING:
        raise httpx.HTTPStatusError(f"HTTP {status}", request=answer.request, response=answer)
    raise Refused(_meaning(status, server, flag))


def _meaning(status: int, server: UnleashSettings, flag: str) -> str:
    where = f"{server.project}/{server.environment}"
    meanings = {
        401: f"Unleash does not know the token in {server.admin_token_env}",
        403: f"the token in {server.admin_token_env} may not switch {flag} off in {where}, or changes there "
        "take a change request: a person has to do it",
        404: f"Unleash has no flag {flag} in {where}",
    }
    return f"HTTP {status}: {meanings.get(status, 'Unleash will not switch the flag off')}"
