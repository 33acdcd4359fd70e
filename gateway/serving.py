"""A worker's event loop, from its orders to its end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import suppress

import uvloop

from gateway.boot import Boot, decode_order, read_boot
from gateway.children import LEAVING, READY
from gateway.worker import Worker
from shadow.wire import FrameBuffer

SUCCESSION = 30.0
"""Seconds after SIGTERM in which the supervisor ends the worker's orders, which drains it."""


async def _serve(boot: Boot) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(boot, loop)
    orders = sys.stdin.fileno()
    frames = FrameBuffer()

    def supervisor_spoke() -> None:
        data = os.read(orders, 65536)
        if not data:
            loop.remove_reader(orders)
            worker.drain()
        for payload in frames.feed(data):
            worker.obey(decode_order(payload))

    def say(news: bytes) -> None:
        if boot.news_fd is not None:
            with suppress(OSError):  # the supervisor is gone, which its pipe tells as well
                os.write(boot.news_fd, news)

    def leave() -> None:
        """Somebody wants this worker to end: it serves on until the supervisor has another in its place."""
        say(LEAVING)
        loop.call_later(SUCCESSION, worker.drain)

    loop.add_signal_handler(signal.SIGTERM, leave)
    loop.add_reader(orders, supervisor_spoke)
    await worker.start(socket.socket(fileno=boot.socket_fd))
    # Start-up's objects live as long as the process: keep the collector from walking them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    say(READY)
    await worker.drained()
    await worker.stop()


def run() -> None:
    """Read the orders, serve until drained."""
    uvloop.run(_serve(read_boot(sys.stdin.fileno())))
