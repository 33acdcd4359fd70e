"""Sessions of the console: who has logged in, kept in the database, so that every replica knows.

A browser holds 32 random bytes; the database holds their SHA-256 and who it is. What was read is believed for
`BELIEVED`, so that a page's requests do not all ask the database, and a log-out is true on every replica a
second later. While the database is out of reach, or takes longer than `PATIENCE`, sessions that this process
knows go on until they end by themselves: whoever was logged in can still kill, and does not wait for a disk.

A session that began with a token ends with it; one that began by the issuer, when what its values give is
configured otherwise.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from control.clock import Clock
from control.identity import Identity
from control.keeper import Keeper
from control.tokens import TokenDesk, bearer
from domain.errors import StateUnavailable
from domain.role import Grants, Role
from storage.database import Database
from storage.tables import SESSIONS

T = TypeVar("T")

BELIEVED = 1.0
"""Seconds for which what was read last is believed."""

SEEN = 30.0
"""Seconds between two notes of when a session was last used."""

PATIENCE = 1.0
"""Seconds that somebody whom this process knows waits for the database."""

MOST = 10_000
"""Sessions that this process remembers."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in.

    Attributes:
        digest: SHA-256 (hex) of what the cookie holds.
        began, seen, ends: wall clock, seconds since the epoch.
        token: the id of the token that it began with; "": it began otherwise.
        rules: `Sessions`' own, when it began otherwise.
    """

    digest: str
    began: float
    seen: float
    ends: float
    name: str
    authentication: str
    grants: Grants
    token: str = ""
    rules: str = ""


class Sessions:
    """Those of the database behind `keeper`; they end after `idle` seconds without use, or `longest`.

    `rules` stands for what the issuer's values give now: sessions that it vouched for by others are over.
    """

    def __init__(
        self, keeper: Keeper, tokens: TokenDesk, clock: Clock, *, idle: float, longest: float, rules: str = ""
    ) -> None:
        self._keeper = keeper
        self._tokens = tokens
        self._clock = clock
        self._idle = idle
        self._longest = longest
        self._rules = rules
        self._known: OrderedDict[str, tuple[Session, float]] = OrderedDict()

    async def begin(self, who: Identity, token: str = "") -> tuple[str, Session]:
        """What the cookie of `who`, who has just logged in, holds. Raises StateUnavailable."""
        cookie = secrets.token_urlsafe(32)
        now = self._clock.wall()
        ends = now + self._longest if who.expires is None else min(who.expires, now + self._longest)
        session = Session(
            _digest(cookie), now, now, ends, who.name, who.authentication, who.grants, token,
            "" if token else self._rules,
        )  # fmt: skip

        def keep(on: Connection) -> None:
            on.execute(delete(SESSIONS).where(SESSIONS.c.ends < now))
            on.execute(delete(SESSIONS).where(SESSIONS.c.seen < now - self._idle))
            on.execute(
                insert(SESSIONS).values(
                    digest=session.digest, began=now, seen=now, ends=ends, document=_encoded(session)
                )
            )

        await self._keeper.run(lambda database: database.write(keep))
        self._remember(session)
        return cookie, session

    async def of(self, cookie: str) -> Identity | None:
        """Who holds `cookie`; None when it is nobody's, or not any more.

        Raises StateUnavailable when this process does not know it and cannot ask.
        """
        digest = _digest(cookie)
        session, read = self._known.get(digest, (None, 0.0))
        if session is None or self._clock.monotonic() - read >= BELIEVED:
            work = _reading(digest)
            if session is None:
                session = await self._keeper.run(lambda database: database.read(work))
            else:
                try:
                    session = await self._soon(lambda database: database.read(work))
                except StateUnavailable:
                    if digest not in self._known:
                        raise  # logged out meanwhile
            if session is None:
                self._known.pop(digest, None)
                return None
            self._remember(session)
        now = self._clock.wall()
        if now >= session.ends or now >= session.seen + self._idle:
            await self._end(digest)
            return None
        await self._use(session, now)
        return self._identity(session)

    async def end(self, cookie: str) -> None:
        """Log out. Raises StateUnavailable: then other replicas may not know."""
        digest = _digest(cookie)
        self._known.pop(digest, None)
        await self._keeper.run(lambda database: database.write(_ending(digest)))

    async def _end(self, digest: str) -> None:
        self._known.pop(digest, None)
        try:
            await self._soon(lambda database: database.write(_ending(digest)))
        except StateUnavailable:
            return  # it has ended by the clock, wherever it is read

    async def _use(self, session: Session, now: float) -> None:
        if now - session.seen < SEEN:
            return
        used = replace(session, seen=now)
        self._remember(used)
        try:
            await self._soon(lambda database: database.write(_using(used)))
        except StateUnavailable:
            return  # it is used here all the same

    async def _soon(self, work: Callable[[Database], T]) -> T:
        """What `work` finds. Raises StateUnavailable, also when the database takes its time."""
        try:
            return await asyncio.wait_for(self._keeper.run(work), PATIENCE)
        except TimeoutError as error:
            raise StateUnavailable(f"the database has not answered for {PATIENCE:g} s") from error

    def _identity(self, session: Session) -> Identity | None:
        if session.token:
            token = self._tokens.by_id(session.token)
            if token is None:
                return None
            return bearer(token)._replace(expires=session.ends, session=session.digest)
        if session.rules != self._rules:
            return None
        return Identity(
            session.name, session.authentication, session.grants, expires=session.ends, session=session.digest
        )

    def _remember(self, session: Session) -> None:
        self._known[session.digest] = session, self._clock.monotonic()
        self._known.move_to_end(session.digest)
        if len(self._known) > MOST:
            self._known.popitem(last=False)


def _digest(cookie: str) -> str:
    return sha256(cookie.encode()).hexdigest()


def _reading(digest: str) -> Callable[[Connection], Session | None]:
    columns = (SESSIONS.c.began, SESSIONS.c.seen, SESSIONS.c.ends, SESSIONS.c.document)

    def read(on: Connection) -> Session | None:
        row = on.execute(select(*columns).where(SESSIONS.c.digest == digest)).first()
        return None if row is None else _decoded(digest, *row)

    return read


def _ending(digest: str) -> Callable[[Connection], None]:
    def end(on: Connection) -> None:
        on.execute(delete(SESSIONS).where(SESSIONS.c.digest == digest))

    return end


def _using(session: Session) -> Callable[[Connection], None]:
    def use(on: Connection) -> None:
        mine = SESSIONS.c.digest == session.digest
        on.execute(update(SESSIONS).where(mine).values(seen=session.seen))

    return use


def _encoded(session: Session) -> bytes:
    document = {
        "name": session.name, "authentication": session.authentication, "token": session.token,
        "rules": session.rules,
        "roles": {endpoint: role.word for endpoint, role in session.grants.roles.items()},
    }  # fmt: skip
    return json.dumps(document).encode()


def _decoded(digest: str, began: float, seen: float, ends: float, content: bytes) -> Session:
    document = json.loads(content)
    grants = Grants({endpoint: Role[word.upper()] for endpoint, word in document["roles"].items()})
    return Session(
        digest, began, seen, ends, document["name"], document["authentication"], grants, document["token"],
        document.get("rules", ""),
    )  # fmt: skip
