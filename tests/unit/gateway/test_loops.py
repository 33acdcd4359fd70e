"""A gateway that is its own model server finds out at once (RFC 9110, 7.6.3)."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from gateway.boot import Boot
from gateway.worker import Worker
from tests.support.gateway import Control, Running, build, endpoint, eventually, post


def test_a_gateway_that_asks_itself_says_508_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        listening.setblocking(False)
        port = listening.getsockname()[1]
        control = Control(tmp_path / "link.sock")
        await control.start()
        boot = Boot(
            0, listening.fileno(), str(control.path), 5.0, b"k" * 32, build([endpoint(port, timeout=1.0)])
        )
        worker = Worker(boot, asyncio.get_running_loop())
        await worker.start(listening)
        await eventually(lambda: control.heard, "the worker is linked")
        try:
            client = await Running(worker, port, control).connect()
            client.writer.write(post())
            assert (await client.response()).status == 508
            assert len(worker.clients) <= 3
            client.close()
        finally:
            await worker.stop()
            await control.stop()

    asyncio.run(scenario())
