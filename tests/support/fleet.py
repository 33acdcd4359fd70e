"""Several control processes' parts in this process, which share one Redis, each with a worker of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from control.judge import Judge
from control.membership import Membership
from control.switchboard import Switchboard
from domain.observation import Pair
from tests.support.control import PATIENCE, FakeWorker, Here, document, here, pair, write

GUARDS = {"flips": {"rate": "5%"}, "errors": {"excess": "1%"}, "divergence": {"mean": 0.05}}
PLAN = [
    {"mode": "shadow", "pairs": 150},
    {"mode": "canary", "weight": "25%", "pairs": 300},
    {"mode": "canary", "weight": "50%"},
]


class Replica:
    """One of them."""

    def __init__(self, at: Here, worker: FakeWorker) -> None:
        self.here = at
        self.worker = worker
        self.sequence = 0

    @property
    def board(self) -> Switchboard:
        return self.here.control.switchboard

    @property
    def membership(self) -> Membership:
        found = self.here.control.membership
        assert found is not None
        return found

    @property
    def judge(self) -> Judge:
        return self.board.judges["rain"]

    @property
    def joined(self) -> bool:
        return bool(self.membership.evidence.state("rain")["joined"])

    async def post(self, action: str, **body: object) -> tuple[int, dict[str, Any]]:
        answer = await self.here.client.post(f"/api/v1/endpoints/rain/{action}", json=body)
        return answer.status_code, answer.json()

    async def send(self, pairs: list[Pair]) -> None:
        self.sequence += 1
        await self.worker.send(pairs, self.sequence)


class Fleet:
    """All of them."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.replicas = replicas
        self._draw = random.Random(1)
        self._pairs = 0

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(2 * PATIENCE):
            while not condition():  # noqa: ASYNC110 - the parts have no event for everything
                await asyncio.sleep(0.005)

    async def all(self, condition: Callable[[Replica], bool]) -> None:
        await self.until(lambda: all(map(condition, self.replicas)))

    async def send(self, count: int, bad: float = 0.0, rounds: int = 1) -> None:
        """So many pairs to each, `rounds` times; a share `bad` of them flips. Until all are acknowledged."""
        for _ in range(rounds):
            await asyncio.gather(*(one.send(self._made(one, count, bad)) for one in self.replicas))

    def _made(self, replica: Replica, count: int, bad: float) -> list[Pair]:
        found = []
        for _ in range(count):
            self._pairs += 1
            y = 0.9 if self._draw.random() < bad else 0.5
            found.append(pair(self._pairs, y, generation=replica.board.snapshot.generation))
        return found

    def agreed(self, pairs: int) -> bool:
        """Whether all hold the same evidence of so many pairs, to the last bit, and the same stage."""
        judges = [one.judge for one in self.replicas]
        states = {(one.guards.dump(), one.progress, one.tally.flips) for one in judges}
        return len(states) == 1 and all(one.tally.judged == pairs for one in judges)


@asynccontextmanager
async def fleet(folder: Path, url: str, count: int = 3, **endpoint: Any) -> AsyncIterator[Fleet]:
    """`count` replicas that share the Redis at `url`; their files are in folders of `folder`."""
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(replica(folder, url, number, **endpoint))
            for number in range(count)
        ]
        yield Fleet(replicas)


@asynccontextmanager
async def replica(folder: Path, url: str, number: int, **endpoint: Any) -> AsyncIterator[Replica]:
    """One replica; it finds what an earlier one of the same number left on disk."""
    home = folder / f"r{number}"
    home.mkdir(exist_ok=True)
    configuration = document(home, **{"guards": GUARDS, "plan": PLAN, **endpoint})
    configuration["state"] |= {"redis": url, "replica": f"r{number}"}
    write(home, configuration)
    async with here(home) as started:
        worker = await FakeWorker(0, f"s{number}-{id(started)}").connect(started.link)
        try:
            yield Replica(started, worker)
        finally:
            await worker.close()
