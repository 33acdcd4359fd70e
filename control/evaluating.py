"""A thread with an event loop of its own, where flag platforms are asked: none of it holds up the judging."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 2.0
"""Seconds that what runs there has to end."""


class EvaluatingThread:
    """The thread runs from the first call to `close`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which runs there; what it raises is raised."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="flags", daemon=True)
            self._thread.start()
        return self._loop

    async def close(self) -> None:
        """End what runs there, and the thread."""
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        ending = asyncio.run_coroutine_threadsafe(_cancel_all(), loop)
        await asyncio.wait({asyncio.wrap_future(ending)}, timeout=GRACE)
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, GRACE)
        if not thread.is_alive():
            loop.close()


async def _cancel_all() -> None:
    """SDKs leave tasks behind."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
