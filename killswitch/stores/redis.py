"""Kills, clearances, the lease and who is there, in Redis: the shell around `killswitch.replication`.

What stands in Redis is not trusted to be whole. A clearance that cannot be read clears nothing and is taken
out, so that whoever knows it hands it over again; a kill that cannot be read counts as a kill, since one was
there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from domain.errors import StaleRearm
from domain.kill import Clearance, Kill
from killswitch.replication import Inventory, News
from killswitch.stores import redis_scripts as scripts
from killswitch.stores.redis_client import RedisClient
from killswitch.stores.redis_line import KillLine

UNREADABLE = "the shared state holds a kill that cannot be read"

SHOWN = 10
"""Seconds that a replica is shown after its last word."""

REMEMBERED = 3600

LAST_TIME = 253_402_300_799.0
"""The end of the year 9999. Later times cannot be shown, and no clock of ours tells them."""

T = TypeVar("T")


class Presence(msgspec.Struct, frozen=True):
    """What a replica says of itself. `life` is unique for its process; `digest` is its configuration's."""

    life: str
    replica: str
    digest: str
    version: str
    host: str
    leader: bool


class Said(msgspec.Struct, frozen=True):
    """A message to all replicas; without an endpoint it says only that `life` can be heard."""

    life: str
    endpoint: str = ""
    kills: list[Kill] = []
    clearances: list[Clearance] = []

    @property
    def news(self) -> News:
        """What it says."""
        kills = (kill for kill in self.kills if kill.endpoint == self.endpoint)
        clearances = (one for one in self.clearances if one.endpoint == self.endpoint)
        return News(frozenset(kills), frozenset(clearances))


def said(message: bytes) -> Said | None:
    """The message, None when it is nothing of ours: anybody can publish."""
    words = _read(message, Said)
    if words is None:
        return None
    times = [one.at for one in words.kills] + [one.at for one in words.clearances]
    return words if all(map(_is_time, times)) else None


@dataclass(frozen=True, slots=True)
class Line:
    """Hears all, and tells all, at once."""

    store: RedisStore
    line: KillLine

    def ring(self, endpoint: str, news: News) -> None:
        """Tell everybody; nobody knows whether they heard."""
        self.line.ring(self.store.message(endpoint, news))

    async def wait(self, within: float) -> None:
        """Return after so many seconds. Raises StateUnavailable as soon as nothing is heard any more."""
        error = await self.line.ended(within)
        if error is not None:
            raise self.store.client.lost(error)


@dataclass(frozen=True, slots=True)
class RedisStore:
    """What replicas share, by `client`; `life` names this process in messages."""

    client: RedisClient
    life: str

    async def inventories(self, endpoints: Sequence[str]) -> dict[str, Inventory]:
        """What it names, by endpoint. Raises StateUnavailable.

        An id that is no UTF-8, which none of ours wrote, is spelt out first, so that a re-arm can name it.
        """
        keys = [key(name) for name in endpoints for key in (scripts.kills, scripts.cleared)]
        answers = await self.client.ask_all([("HKEYS", key) for key in keys])
        for key, found in zip(keys, answers, strict=True):
            strange = [one for one in found if not _is_text(one)] if isinstance(found, list) else []
            if strange:
                spelt = [part for one in strange for part in (one, _text(one))]
                await self.client.run(scripts.SPELL, [key], spelt)
        ids = [frozenset(map(_text, one)) if isinstance(one, list) else frozenset() for one in answers]
        return {name: Inventory(*ids[2 * at : 2 * at + 2]) for at, name in enumerate(endpoints)}

    async def fetched(self, endpoint: str, wanted: Inventory) -> News:
        """What it holds of `wanted`; garbage among clearances is taken out. Raises StateUnavailable."""
        kills = await self._values(scripts.kills(endpoint), wanted.kills)
        cleared = await self._values(scripts.cleared(endpoint), wanted.cleared)
        clearances = {name: _clearance(endpoint, name, value) for name, value in cleared.items()}
        garbage = [part for name, one in clearances.items() if one is None for part in (name, cleared[name])]
        if garbage:
            await self.client.run(scripts.FORGET, [scripts.cleared(endpoint)], garbage)
        return News(
            frozenset(_kill(endpoint, name, value) for name, value in kills.items()),
            frozenset(one for one in clearances.values() if one is not None),
        )

    async def push(self, endpoint: str, news: News) -> None:
        """Hand `news` over, and tell everybody. Raises StateUnavailable."""
        kills = [part for one in news.kills for part in (one.id, _json(one))]
        clearances = [part for one in news.clearances for name in one.ids for part in (name, _json(one))]
        await self.client.run(
            scripts.PUSH,
            [scripts.kills(endpoint), scripts.cleared(endpoint)],
            [scripts.KILLS_CHANNEL, self.message(endpoint, news), len(news.kills), *kills, *clearances],
        )

    async def rearm(self, clearance: Clearance) -> None:
        """Clear exactly the kills that it names. Raises StaleRearm for others, and StateUnavailable."""
        endpoint = clearance.endpoint
        message = self.message(endpoint, News(clearances=frozenset((clearance,))))
        answer = await self.client.run(
            scripts.REARM,
            [scripts.kills(endpoint), scripts.cleared(endpoint)],
            [scripts.KILLS_CHANNEL, message, _json(clearance), *sorted(clearance.ids)],
        )
        if answer[0] != 1:
            force = ", ".join(sorted(map(_text, answer[1:]))) or "none"
            raise StaleRearm(
                f"the kills in force for all replicas are {force}, the re-arm names "
                f"{', '.join(sorted(clearance.ids))}; look at them again and name every one"
            )

    async def beat(self, presence: Presence) -> tuple[Presence, ...]:
        """Say that this replica is there, so that all hear it; answers who is. Raises StateUnavailable."""
        text = msgspec.json.encode(presence)
        answers = await self.client.run(
            scripts.BEAT, [scripts.PRESENCE], [presence.life, text, SHOWN, REMEMBERED]
        )
        await self.client.ask("PUBLISH", scripts.KILLS_CHANNEL, msgspec.json.encode(Said(self.life)))
        return tuple(sorted(_present(answers), key=lambda one: (one.replica, one.life)))

    @asynccontextmanager
    async def line(self, hear: Callable[[bytes], None]) -> AsyncIterator[Line]:
        """Call `hear` with every message from now on. Raises StateUnavailable."""
        async with self.client.line(scripts.KILLS_CHANNEL, hear) as line:
            yield Line(self, line)

    async def leave(self) -> None:
        """This replica ends. Raises StateUnavailable."""
        await self.client.run(scripts.LEAVE, [scripts.PRESENCE], [self.life])

    async def take_lease(self, seconds: float) -> int:
        """The token if this replica leads for so long from now on, else 0. Raises StateUnavailable."""
        keys = [scripts.LEASE, scripts.TOKEN]
        return int(await self.client.run(scripts.LEASE_TAKE, keys, [self.life, int(seconds * 1000)]))

    async def give_lease(self) -> None:
        """Lead no longer. Raises StateUnavailable."""
        await self.client.run(scripts.LEASE_GIVE, [scripts.LEASE], [self.life])

    def message(self, endpoint: str, news: News) -> bytes:
        """`news` as all replicas read it."""
        return msgspec.json.encode(Said(self.life, endpoint, list(news.kills), list(news.clearances)))

    async def _values(self, key: str, ids: Iterable[str]) -> dict[str, bytes]:
        wanted = sorted(ids)
        if not wanted:
            return {}
        found = await self.client.ask("HMGET", key, *wanted)
        return {name: value for name, value in zip(wanted, found, strict=True) if value is not None}


def _json(value: Kill | Clearance) -> bytes:
    return msgspec.json.encode(value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _kill(endpoint: str, name: str, value: bytes) -> Kill:
    found = _read(value, Kill)
    if found is None or found.id != name or found.endpoint != endpoint or not _is_time(found.at):
        return Kill(name, endpoint, "unreadable", UNREADABLE, 0.0, "")
    return found


def _clearance(endpoint: str, name: str, value: bytes) -> Clearance | None:
    found = _read(value, Clearance)
    if found is None or name not in found.ids or found.endpoint != endpoint or not _is_time(found.at):
        return None
    return found


def _present(answers: Iterable[bytes]) -> list[Presence]:
    # What cannot be read is somebody else's, or from a release that says other things of itself.
    read = (_read(answer, Presence) for answer in answers)
    return [one for one in read if one is not None]


def _read(text: bytes, kind: type[T]) -> T | None:
    """None for what none of ours writes, which may be no UTF-8, or as deep as somebody likes."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_time(at: float) -> bool:
    return 0.0 <= at <= LAST_TIME
