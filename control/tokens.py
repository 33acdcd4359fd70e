"""The tokens file in the control process: read at the start, and again as soon as it changes.

Every request is held against what was read last, so no request waits for a disk, and a token that was revoked
is refused after `PERIOD` at most. A file that cannot be read any more changes nothing: who could kill before
still can, and readiness says what is wrong. What came and went in it is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from control.audit_recorder import Recorder
from control.clock import Clock, iso_or_none
from control.identity import Identity
from control.log import note
from domain.errors import ConfigError
from settings import token_file
from settings.file import identity
from settings.tokens import Token, looked_up

PERIOD = 0.5
"""Seconds between two looks at the file."""

log = logging.getLogger("pointsman.tokens")


class TokenDesk:
    """The tokens in the file at `path`; None: there are none.

    Attributes:
        failure: why the file could not be read at the last look, None when it could.
    """

    def __init__(self, path: Path | None, recorder: Recorder, clock: Clock) -> None:
        self.failure: str | None = None
        self._path = path
        self._recorder = recorder
        self._clock = clock
        self._tokens: Mapping[str, Token] = {}
        self._seen: tuple[int, ...] | None = None
        self._begun = False

    def of(self, given: str) -> Token | None:
        """The token that somebody shows, if it stands now."""
        return looked_up(self._tokens, given, self._clock.wall())

    def by_id(self, name: str) -> Token | None:
        """The token whose id is `name`, if it stands now."""
        found = self._tokens.get(name)
        return found if found is not None and found.stands(self._clock.wall()) else None

    async def watch(self) -> None:
        """For ever: read the file when it is another."""
        while self._path is not None:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Read the file if it is another than at the last look."""
        if self._path is None:
            return
        now = await asyncio.to_thread(identity, self._path)
        if now == self._seen and now is not None:
            return
        try:
            found = await asyncio.to_thread(token_file.read, self._path)
        except ConfigError as error:
            if self.failure != str(error):
                note(log, logging.ERROR, "tokens file unreadable", reason=str(error))
            self.failure = str(error)
            return
        self._seen, self.failure = now, None
        before, self._tokens = self._tokens, found
        self._record(before, found)

    def _record(self, before: Mapping[str, Token], after: Mapping[str, Token]) -> None:
        recorder = self._recorder
        if not self._begun:
            self._begun = True
            listed = [_shown(one) for one in after.values()]
            recorder.tell(recorder.event("token.read", "tokens", "", after={"tokens": listed}))
            return
        for one in after.values():
            was = before.get(one.id)
            if was == one:
                continue
            if was is None:
                action = "token.created"
            else:
                action = "token.revoked" if one.revoked is not None else "token.changed"
            recorder.tell(recorder.event(action, "token", one.name, after=_shown(one)))
        for was in before.values():
            if was.id not in after:
                recorder.tell(recorder.event("token.removed", "token", was.name, after=_shown(was)))
        note(log, logging.INFO, "tokens", count=len(after))


def bearer(found: Token) -> Identity:
    """Who shows the token `found`."""
    return Identity(found.person or found.name, f"token:{found.name}", found.grants, expires=found.expires)


def _shown(one: Token) -> dict[str, object]:
    """What is recorded of a token: nothing that could be used as one."""
    return {
        "id": one.id, "name": one.name, "person": one.person, "role": one.role.word,
        "endpoints": list(one.endpoints), "expires": iso_or_none(one.expires),
        "revoked": iso_or_none(one.revoked),
    }  # fmt: skip
