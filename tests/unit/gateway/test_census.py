"""What a worker tells of its servers: each failure and each ejection once, states as they are."""

from __future__ import annotations

import asyncio
import socket

from domain.routing import Arm, Ejection, Policy, Upstream, Version
from gateway.census import Census
from gateway.servers import Pools
from shadow.outbox import Outbox
from shadow.tasks import Tasks
from shadow.wire import Batch, FrameBuffer, ServerReport, decode_from_worker


def _nobody_listens() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_failures_and_ejections_are_told_once_and_states_always() -> None:
    async def scenario() -> None:
        now = [100.0]
        tasks = Tasks(lambda name, error: None)
        pools = Pools(asyncio.get_running_loop(), tasks, lambda: now[0])
        policy = Policy(ejection=Ejection(consecutive_errors=2, pause=5.0, share=1.0))
        upstream = Upstream("127.0.0.1", _nobody_listens(), policy=policy)
        # The version's servers are kept: an ejection is theirs to allow.
        servers = pools.of(Version("rain-2", (upstream,)), Arm.CANDIDATE)
        (pool,) = pools
        census = Census()
        (fresh,) = census.take(pools)
        assert fresh == ServerReport(str(upstream), {}, 0, False, True, False)
        for _ in range(2):
            try:
                await pool.dialer.dial(asyncio.Protocol)
            except OSError:
                pool.standing.unreachable()
            pool.observed(False)
        (bad,) = census.take(pools)
        assert bad == ServerReport(str(upstream), {"refused": 2}, 1, True, True, True)
        (still,) = census.take(pools)
        assert still == ServerReport(str(upstream), {}, 0, True, True, True)
        now[0] += 6.0
        pool.standing.tick(now[0])
        (back,) = census.take(pools)
        assert (back.ejections, back.ejected) == (0, False)
        assert servers.pools == (pool,)
        pools.close()
        await tasks.cancel()

    asyncio.run(scenario())


def test_reports_that_wait_are_added_up_and_sent_once() -> None:
    outbox = Outbox("s")
    outbox.tell([ServerReport("http://a:1", {"refused": 1}, 1, True, None, True)])
    outbox.tell([ServerReport("http://a:1", {"refused": 2, "timeout": 1}, 0, False, True, False)])

    def sent() -> list[ServerReport]:
        (payload,) = FrameBuffer().feed(outbox.cut(([], [], [])))
        batch = decode_from_worker(payload)
        assert isinstance(batch, Batch)
        return batch.servers

    assert sent() == [ServerReport("http://a:1", {"refused": 3, "timeout": 1}, 1, False, True, False)]
    assert sent() == []
