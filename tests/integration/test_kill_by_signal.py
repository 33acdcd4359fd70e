"""The way to kill that needs no network, no token and no administration port: SIGUSR1."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.support.processes import Gateway
from tests.support.upstream import ScriptedUpstream, response, saying


def test_a_signal_takes_every_candidate_out_for_good(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            async with Gateway(tmp_path, one.port, one.port) as gateway:
                assert not (await gateway.view())["switch"]["tripped"]
                gateway.signal(signal.SIGUSR1)
                while not (switch := (await gateway.view())["switch"])["tripped"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                assert [kill["reason"] for kill in switch["kills"]] == ["signal SIGUSR1"]
                await gateway.ready()
                gateway.kill_child("control")
                await asyncio.sleep(0.05)
                await gateway.ready()
                assert (await gateway.view())["switch"]["kills"] == switch["kills"]

    asyncio.run(asyncio.wait_for(scenario(), 200))
