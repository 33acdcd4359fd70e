"""Latency counts from the timetable, on a clock that only this test moves."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest

from gates import load


class _Jump(selectors.SelectSelector):
    """Instead of waiting for a timer the clock jumps to it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is not None:
            self.now += timeout
        return found


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def run(work: Coroutine[Any, Any, load.Load]) -> load.Load:
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(work)


def test_a_server_that_stands_still_for_a_second_is_late_for_every_request_of_that_second() -> None:
    async def scenario() -> load.Load:
        clock = asyncio.get_running_loop().time

        async def send(number: int) -> bool:
            """One request at a time, and nothing at all in the second second."""
            async with turn:
                if 1.0 <= clock() < 2.0:
                    await asyncio.sleep(2.0 - clock())
                await asyncio.sleep(0.001)
            return True

        turn = asyncio.Lock()
        return await load.run([send], 100.0, 3.0)

    (seen,) = run(scenario()).measured
    late = [latency for latency in seen.latencies if latency > 0.01]
    assert len(seen.latencies) == 300
    # A closed loop would have seen one slow request. All of that second, and the queue behind it, were slow.
    assert len(late) >= 100
    assert max(late) == pytest.approx(1.0, abs=0.02)


def test_both_versions_get_the_whole_rate_in_turn() -> None:
    sent: list[tuple[str, float]] = []

    async def scenario() -> load.Load:
        clock = asyncio.get_running_loop().time

        def sender(name: str) -> load.Send:
            async def send(number: int) -> bool:
                sent.append((name, round(clock(), 3)))
                return True

            return send

        return await load.run([sender("a"), sender("b")], 10.0, 0.3)

    run(scenario())
    assert sent == [("a", 0.0), ("b", 0.05), ("a", 0.1), ("b", 0.15), ("a", 0.2), ("b", 0.25)]


def test_a_request_that_fails_is_infinitely_late() -> None:
    async def scenario() -> load.Load:
        async def send(number: int) -> bool:
            return number % 2 == 0

        return await load.run([send], 10.0, 1.0)

    (seen,) = run(scenario()).measured
    assert seen.failed == 5
    assert seen.latencies.count(math.inf) == 5


def test_requests_beyond_the_bound_count_as_failed_and_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MOST_IN_FLIGHT", 3)
    sent: list[int] = []

    async def scenario() -> load.Load:
        async def send(number: int) -> bool:
            sent.append(number)
            await asyncio.sleep(100.0)
            return True

        return await load.run([send], 10.0, 1.0)

    (seen,) = run(scenario()).measured
    assert sent == [0, 1, 2]
    assert seen.failed == 7
