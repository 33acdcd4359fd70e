"""Real gateways that share a real Redis, while processes are killed, lines cut and data lost, at random.

For a bounded time (`POINTSMAN_CHAOS` seconds) one thing after another goes wrong. All the while clients ask,
and an oracle (`oracle`) knows which requests must not reach the candidate. What must hold: none of them does;
a kill that was acknowledged anywhere reaches every gateway once it can; no request fails. The order of events
is drawn from a seed, which a failure shows; `POINTSMAN_CHAOS_SEED` repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.chaos.oracle import Oracle, Traffic
from tests.support.faults import FaultProxy
from tests.support.processes import Gateway
from tests.support.redis_server import RedisServer
from tests.support.upstream import Heard, ScriptedUpstream, response, saying

REPLICAS = int(os.environ.get("POINTSMAN_CHAOS_REPLICAS", "3"))
SECONDS = float(os.environ.get("POINTSMAN_CHAOS", "30"))
SEED = int(os.environ.get("POINTSMAN_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
PATIENCE = 120.0
"""Seconds within which all that can be told must have been told, on a busy machine."""

KILL = "/api/v1/endpoints/rain/kill"
REARM = "/api/v1/endpoints/rain/rearm"
PLAN = [{"mode": "shadow", "pairs": 5}, {"mode": "canary", "weight": "50%"}]


class Recording(ScriptedUpstream):
    """A candidate that tells the oracle of every request, and then answers by script."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(self._answer)
        self.oracle = oracle
        self.wrong = False

    async def _answer(self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.oracle.candidate_heard(heard)
        writer.write(response(b"[9]" if self.wrong else b"[1]"))


class Replica:
    """One gateway, its traffic, and its own line to Redis."""

    def __init__(
        self, number: int, folder: Path, oracle: Oracle, servers: tuple[int, int], redis: int
    ) -> None:
        folder.mkdir()
        self.number = number
        self.oracle = oracle
        self.line = FaultProxy(redis)
        self.gateway = Gateway(folder, *servers, plan=PLAN)
        self.traffic = Traffic(oracle, number, self.gateway.port)
        self.cut = False

    async def start(self) -> None:
        await self.line.come_back()
        url = f"redis://127.0.0.1:{self.line.port}"
        self.gateway.document["state"] |= {"redis": url, "replica": f"replica-{self.number}"}
        await self.gateway.__aenter__()
        self.traffic.resume()

    async def stop(self) -> None:
        try:
            await self.traffic.paused()
        finally:
            await self.gateway.__aexit__()
            await self.line.break_down()

    async def reasons(self) -> list[str]:
        """Why it is not ready."""
        answer = (await self.gateway.admin.get("/readyz")).json()
        return list(answer.get("reasons", []))

    async def tripped(self, since: float) -> bool:
        """Whether it keeps its candidate out for good: every worker knows, and the disk does.

        By a kill that was made after `since`, wall clock: one from before may be cleared already, at others.
        """
        try:
            kills = (await self.gateway.view())["switch"]["kills"]
            out = any(datetime.fromisoformat(kill["at"]).timestamp() > since for kill in kills)
            reasons = await self.reasons()
        except httpx.HTTPError:
            return False  # its control process is on its way back
        return out and not any("durable" in one or "workers" in one or "worker " in one for one in reasons)

    async def reconnect(self) -> None:
        """Back on the line, with new connections: bytes that were swallowed are lost."""
        await self.line.break_down()
        self.line.blackhole = False
        await self.line.come_back()
        self.cut = False


def _lives(pid: int) -> bool:
    """Whether it runs: who has ended may stand there until somebody asks for the exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Chaos:
    """What goes wrong, drawn from `draw`; `happened` says in which order."""

    def __init__(
        self, replicas: list[Replica], redis: RedisServer, candidate: Recording, draw: random.Random
    ) -> None:
        self.happened: list[str] = []
        self.fanned_out: list[float] = []
        self.rearmed = 0
        self.replicas = replicas
        self._oracle = replicas[0].oracle
        self._redis = redis
        self._candidate = candidate
        self._draw = draw
        self._began = time.monotonic()
        self._rearmed_at = 0.0
        self._watching: dict[int, asyncio.Task[None]] = {}

    def _say(self, words: str) -> None:
        self.happened.append(f"{time.monotonic() - self._began:6.2f} {words}")

    async def go_on(self, seconds: float) -> None:
        events: list[tuple[int, Callable[[Replica], Awaitable[None]]]] = [
            (3, self.kill), (1, self.kill_by_signal), (3, self.rearm), (2, self.cut), (4, self.heal),
            (2, self.lose_everything), (1, self.lose_the_latest), (1, self.freeze), (2, self.spoil),
            (3, self.end_control), (2, self.end_all), (1, self.go_wrong),
        ]  # fmt: skip
        weights = [weight for weight, _ in events]
        while time.monotonic() - self._began < seconds:
            event = self._draw.choices(events, weights)[0][1]
            await event(self._draw.choice(self.replicas))
            await asyncio.sleep(self._draw.uniform(0.05, 0.8))

    # Kills and re-arms.

    async def kill(self, one: Replica) -> None:
        """An operator kills at `one`; the others follow as soon as they hear of it."""
        try:
            answer = await one.gateway.admin.post(KILL, json={"reason": "chaos"})
        except httpx.HTTPError:
            self._say(f"kill at {one.number}: not answered")
            return
        acknowledged = time.monotonic()
        assert answer.status_code == 200, answer.text
        assert answer.json()["durable"], answer.text
        if answer.json()["confirmed_ms"] is not None:
            self._oracle.out(one.number)
        self._say(f"kill at {one.number}")
        self._expect_all(acknowledged)

    async def kill_by_signal(self, one: Replica) -> None:
        """SIGUSR1, by somebody on the machine who has neither network nor token."""
        one.gateway.signal(signal.SIGUSR1)
        async with asyncio.timeout(PATIENCE):
            while not await one.tripped(self._rearmed_at):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        self._oracle.out(one.number)
        self._say(f"SIGUSR1 to {one.number}")
        self._expect_all(time.monotonic())

    def _expect_all(self, since: float) -> None:
        for other in self.replicas:
            if not self._oracle.is_out(other.number) and other.number not in self._watching:
                watching = asyncio.get_running_loop().create_task(self._follow(other, since))
                self._watching[other.number] = watching

    async def _follow(self, other: Replica, since: float) -> None:
        straight = not any(one.cut for one in self.replicas)
        while not await other.tripped(self._rearmed_at):  # noqa: ASYNC110 - it is asked over HTTP
            await asyncio.sleep(0.005)
        self._oracle.out(other.number)
        if straight:
            self.fanned_out.append(time.monotonic() - since)
        self._say(f"{other.number} is out, {time.monotonic() - since:.3f} s after the kill")
        self._watching.pop(other.number, None)

    async def rearm(self, one: Replica) -> None:
        self._oracle.rearm_asked()
        watching, self._watching = self._watching, {}
        for task in watching.values():
            task.cancel()
        await asyncio.gather(*watching.values(), return_exceptions=True)
        try:
            answer = await one.gateway.admin.post(REARM, json={"reason": "chaos"})
        except httpx.HTTPError as error:
            self._say(f"re-arm at {one.number}: {type(error).__name__}")
            return
        finally:
            self._rearmed_at = time.time()
        self._say(f"re-arm at {one.number}: {answer.status_code}")
        assert answer.status_code in (200, 409, 503), answer.text
        self.rearmed += answer.status_code == 200

    async def go_wrong(self, one: Replica) -> None:
        """The candidate is wrong from now on: whoever judges trips, and the others hear of it."""
        self._say("the candidate is wrong")
        self._candidate.wrong = True
        try:
            async with asyncio.timeout(3):
                while not await one.tripped(self._rearmed_at):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            self._oracle.out(one.number)
            self._say(f"the candidate is right again, {one.number} is out")
            self._expect_all(time.monotonic())
        except TimeoutError:
            self._say("the candidate is right again, not enough pairs came")
        finally:
            self._candidate.wrong = False

    # Lines and data.

    async def cut(self, one: Replica) -> None:
        one.cut = True
        if self._draw.random() < 0.5:
            one.line.blackhole = True
            self._say(f"{one.number} hears nothing")
        else:
            await one.line.break_down()
            self._say(f"{one.number} is cut off")

    async def heal(self, one: Replica) -> None:
        await one.reconnect()
        self._say(f"{one.number} is back on the line")

    async def lose_everything(self, one: Replica) -> None:
        self._redis.kill()
        await asyncio.sleep(self._draw.uniform(0, 1.0))
        await self._redis.start(with_data=False)
        self._say("Redis is back and has lost everything")

    async def lose_the_latest(self, one: Replica) -> None:
        """As a failover to a copy that was behind."""
        await self._redis.save()
        await asyncio.sleep(self._draw.uniform(0, 0.5))
        await self.kill(self._draw.choice(self.replicas))
        self._redis.kill()
        await self._redis.start()
        self._say("Redis is back and has lost the latest writes")

    async def freeze(self, one: Replica) -> None:
        self._redis.freeze()
        await asyncio.sleep(self._draw.uniform(0.2, 2.0))
        self._redis.thaw()
        self._say("Redis did not answer for a while")

    async def spoil(self, one: Replica) -> None:
        """Somebody writes over what the replicas share: another type, and clearances that nobody can read."""
        if self._draw.random() < 0.5:
            await self._redis.ask("SET", "pointsman:kills:{rain}", "mine")
            self._say("the kills in Redis are a text")
            return
        with contextlib.suppress(httpx.HTTPError):
            for kill in (await one.gateway.view())["switch"]["kills"]:
                await self._redis.ask("HSET", "pointsman:cleared:{rain}", kill["id"], "never mind")
            self._say("the clearances in Redis are garbage")

    # Processes.

    async def end_control(self, one: Replica) -> None:
        """SIGKILL for the control process; the workers go on, and so do the clients."""
        if one.gateway.children("control"):
            one.gateway.kill_child("control")
            self._say(f"the control process of {one.number} was killed")

    async def end_all(self, one: Replica) -> None:
        """SIGKILL for a whole gateway, which has no clients at that moment, and another one in its place."""
        await one.traffic.paused()
        children = one.gateway.children("")
        one.gateway.kill_supervisor()
        async with asyncio.timeout(PATIENCE):
            while any(map(_lives, children)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        one.gateway._start()
        await self.serves(one)
        one.traffic.resume()
        self._say(f"{one.number} was killed and started again")

    async def serves(self, one: Replica) -> None:
        """Until its control process answers and its workers serve the newest."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if not any("worker" in reason for reason in await one.reasons()):
                        return
                await asyncio.sleep(0.02)

    # The end.

    async def heal_all(self) -> None:
        """Everything works again, so every kill has to reach everybody."""
        self._say("all heals")
        for one in self.replicas:
            await one.reconnect()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._watching.values())

    async def all_tripped(self) -> None:
        """All are out, and are asked some hundred times more."""
        async with asyncio.timeout(PATIENCE):
            while not all([await one.tripped(self._rearmed_at) for one in self.replicas]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

            enough = len(self._oracle.asked) + 300
            while len(self._oracle.asked) < enough:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def armed_again(self) -> None:
        """A re-arm succeeds, and the candidate is reached from every gateway."""
        async with asyncio.timeout(PATIENCE):
            before = self.rearmed
            while self.rearmed == before:
                await self.rearm(self.replicas[0])
                await asyncio.sleep(0.1)
            for one in self.replicas:
                known = self._oracle.reached_from(one.number)
                while self._oracle.reached_from(one.number) == known:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def fleet(folder: Path, draw: random.Random) -> AsyncIterator[tuple[Chaos, Oracle]]:
    oracle = Oracle()
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisServer())
        incumbent = await stack.enter_async_context(ScriptedUpstream(saying(response(b"[1]"))))
        candidate = await stack.enter_async_context(Recording(oracle))
        servers = (incumbent.port, candidate.port)
        replicas = [Replica(n, folder / f"{n}", oracle, servers, redis.port) for n in range(REPLICAS)]
        try:
            await asyncio.gather(*(one.start() for one in replicas))
            yield Chaos(replicas, redis, candidate, draw), oracle
        finally:
            await asyncio.gather(*(one.stop() for one in replicas))


@pytest.mark.timeout(SECONDS + 5 * PATIENCE)
def test_no_request_reaches_a_candidate_that_is_out_whatever_happens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fleet(tmp_path, random.Random(SEED)) as (chaos, oracle):
            try:
                await chaos.go_on(SECONDS)
                await chaos.heal_all()
                await chaos.kill(chaos.replicas[0])
                await chaos.all_tripped()
                await chaos.armed_again()
                await chaos.kill(chaos.replicas[-1])
                await chaos.all_tripped()
            except BaseException:
                print(f"seed {SEED}", *chaos.happened, sep="\n")
                raise
        checked, wrong = oracle.forbidden()
        story = "\n".join([f"seed {SEED}", *chaos.happened])
        assert not wrong, "\n".join([*wrong[:20], story])
        assert not oracle.failures, "\n".join([*oracle.failures[:20], story])
        assert checked > 100, story
        assert len(oracle.reached) > 100, story
        fanned_out = [round(one * 1000) for one in sorted(chaos.fanned_out)]
        print(
            f"seed {SEED}: {len(chaos.happened)} events; of {len(oracle.asked)} requests {checked} had to be "
            f"kept from the candidate, {len(oracle.reached)} reached it; kills were seen elsewhere after ms:",
            *fanned_out,
        )

    asyncio.run(asyncio.wait_for(scenario(), SECONDS + 4 * PATIENCE))
