"""`python -m gateway.process`: one gateway worker, started by the supervisor only."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys

import uvloop

from gateway.boot import Boot, read_boot
from gateway.worker import Worker


async def _serve(boot: Boot) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(boot, loop)
    orders = sys.stdin.fileno()

    def supervisor_spoke() -> None:
        if not os.read(orders, 4096):
            loop.remove_reader(orders)
            worker.drain()

    loop.add_signal_handler(signal.SIGTERM, worker.drain)
    loop.add_reader(orders, supervisor_spoke)
    await worker.start(socket.socket(fileno=boot.socket_fd))
    # Start-up's objects live as long as the process: keep the collector from walking them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await worker.drained()
    await worker.stop()


def main() -> None:
    """Read the orders, serve until drained."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_serve(read_boot(sys.stdin.fileno())))


if __name__ == "__main__":
    main()
