"""The scripts in a real Redis do what `killswitch.replication.Shared` does, which the model is made of."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from domain.errors import StaleRearm
from domain.kill import Clearance, Kill
from killswitch.replication import Inventory, News, Shared
from killswitch.stores.redis import RedisStore
from killswitch.stores.redis_client import RedisClient
from settings.shared import RedisSettings
from tests.support.redis_server import RedisServer

IDS = tuple(f"kill-{number}" for number in range(5))


def kill(endpoint: str, name: str) -> Kill:
    return Kill(name, endpoint, "guard:flips", "flips 23 % ≫ 1 %", 1000.5, "rain-2")


class Both:
    """One endpoint in Redis and in the reference, which answer every question alike."""

    def __init__(self, store: RedisStore, endpoint: str, draw: random.Random) -> None:
        self.store = store
        self.endpoint = endpoint
        self.draw = draw
        self.reference = Shared()
        self.asked = 0

    def some(self) -> frozenset[str]:
        return frozenset(self.draw.sample(IDS, self.draw.randrange(len(IDS))))

    def clearance(self, ids: frozenset[str]) -> Clearance:
        self.asked += 1
        return Clearance(self.endpoint, ids, "operator", "fixed", float(self.asked))

    async def push(self) -> None:
        kills = frozenset(kill(self.endpoint, one) for one in self.some())
        clearances = frozenset(self.clearance(ids) for ids in (self.some(), self.some()) if ids)
        news = News(kills, clearances if self.draw.random() < 0.3 else frozenset())
        await self.store.push(self.endpoint, news)
        self.reference = self.reference.pushed(news)

    async def rearm(self) -> None:
        named = self.reference.inventory
        right = named.kills - named.cleared
        clearance = self.clearance(right if self.draw.random() < 0.6 else self.some())
        try:
            after = self.reference.rearmed(clearance)
        except StaleRearm:
            with pytest.raises(StaleRearm):
                await self.store.rearm(clearance)
        else:
            await self.store.rearm(clearance)
            self.reference = after

    async def fetch(self) -> None:
        named = self.reference.inventory
        wanted = Inventory(self.some() & named.kills, self.some() & named.cleared)
        news, expected = await self.store.fetched(self.endpoint, wanted), self.reference.fetched(wanted)
        assert news.kills == expected.kills
        assert wanted.cleared <= frozenset(one for clearance in news.clearances for one in clearance.ids)
        assert news.clearances <= expected.clearances

    async def forget(self) -> None:
        """Redis loses one kill or one cleared id, or everything."""
        if self.draw.random() < 0.2:
            await self.store.client.ask("FLUSHALL")
            self.reference = Shared()
        elif self.reference.kills:
            lost = min(self.reference.kills, key=lambda one: one.id)
            await self.store.client.ask("HDEL", f"pointsman:kills:{{{self.endpoint}}}", lost.id)
            self.reference = Shared(self.reference.kills - {lost}, self.reference.clearances)

    async def agree(self) -> None:
        found = await self.store.inventories([self.endpoint])
        assert found == {self.endpoint: self.reference.inventory}


@pytest.mark.parametrize("seed", range(4))
def test_redis_and_the_reference_cannot_be_told_apart(seed: int) -> None:
    async def scenario() -> None:
        draw = random.Random(seed)
        async with RedisServer() as server:
            client = RedisClient(RedisSettings("server", (("127.0.0.1", server.port),)), {}, patience=20.0)
            accepted = 0
            for number in range(10):
                both = Both(RedisStore(client, "life"), f"rain-{number}", draw)
                steps: list[Callable[[], Awaitable[None]]] = [both.push, both.rearm, both.fetch]
                for _ in range(20):
                    before = len(both.reference.clearances)
                    step = draw.choice([*steps, *steps, both.forget])
                    await step()
                    await both.agree()
                    accepted += step == both.rearm and len(both.reference.clearances) > before
            assert accepted > 3
            await client.close()

    asyncio.run(scenario())
