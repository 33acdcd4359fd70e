"""The one way to start an asyncio task: the reference is kept and a failure is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Report = Callable[[str, BaseException], None]

TOLD_AGAIN = 1.0
"""Seconds that a cancelled task has to end."""


class Tasks:
    """Tasks that run beside a process's main work.

    `report(name, error)` is called for every task that ends by an exception, at once, not when the task is
    collected.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` on the running loop until it ends or `cancel` is called."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(task.get_name(), error)

    async def cancel(self) -> None:
        """Cancel what still runs and wait until it has ended.

        A cancellation is lost where it meets the end of what a task waited for with a timeout of its own
        (bpo-42130), so who does not end is told again.
        """
        running = set(self._running)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=TOLD_AGAIN)
