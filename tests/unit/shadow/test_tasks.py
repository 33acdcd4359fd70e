"""Tasks end when they are told to, and say when they fail."""

from __future__ import annotations

import asyncio

from shadow.tasks import Tasks


def test_who_misses_a_cancellation_is_told_again() -> None:
    async def scenario() -> None:
        failed: list[str] = []
        tasks = Tasks(lambda name, error: failed.append(name))
        missed = 0

        async def deaf() -> None:
            nonlocal missed
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    missed += 1
                    if missed > 1:
                        raise

        tasks.spawn(deaf(), "deaf")
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await tasks.cancel()
        assert (missed, len(tasks), failed) == (2, 0, [])

    asyncio.run(scenario())
