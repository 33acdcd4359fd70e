"""Active checks: what passes, what does not, and how many of them change what is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.routing import HealthCheck, Upstream
from gateway.dialer import Dialer
from gateway.health import LONGEST_HEAD, HealthCount, HealthWatch
from shadow.tasks import Tasks
from tests.support.gateway import eventually
from tests.support.upstream import Answer, ScriptedUpstream, hang_up, response, saying, silence

CHECK = HealthCheck("/v2/health/ready", every=0.01, timeout=0.3)


def test_the_first_check_decides_alone() -> None:
    for passed in (True, False):
        count = HealthCount(5, 5)
        assert count.seen(passed)
        assert count.healthy is passed


def test_it_takes_several_in_a_row_to_change_what_is_believed() -> None:
    count = HealthCount(2, 3)
    count.seen(True)
    falling = [count.seen(passed) for passed in (False, False, True, False, False, False)]
    assert falling == [False] * 5 + [True]
    assert count.healthy is False
    assert [count.seen(passed) for passed in (True, False, True, True)] == [False] * 3 + [True]


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), min_size=1, max_size=60))
@settings(deadline=None)
def test_what_is_believed_is_what_the_last_long_run_said(rises: int, falls: int, checks: list[bool]) -> None:
    count = HealthCount(rises, falls)
    believed: bool | None = None
    run, last = 0, None
    for passed in checks:
        run = run + 1 if passed is last else 1
        last = passed
        if believed is None or (passed is not believed and run >= (rises if passed else falls)):
            believed = passed
        count.seen(passed)
        assert count.healthy is believed


async def passes(server: ScriptedUpstream, prefix: str = "") -> bool:
    loop = asyncio.get_running_loop()
    upstream = Upstream("127.0.0.1", server.port, prefix=prefix)
    dialer = Dialer(upstream, loop, Tasks(lambda name, error: None), loop.time)
    return await HealthWatch(upstream, CHECK, dialer, lambda: 0.5, lambda healthy: None).passes()


ANSWERS = [
    (saying(response(b"")), True),
    (saying(response(b"ready", status="204 No Content")), True),
    (saying(b"HTTP/1.0 200 OK\r\n\r\nready", close=True), True),
    (saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(b"")), True),
    (saying(response(b"", status="500 No")), False),
    (saying(response(b"", status="503 Loading")), False),
    (saying(response(b"", status="301 Moved", fields=b"\r\nlocation: /")), False),
    (saying(b"SSH-2.0-OpenSSH\r\n\r\n"), False),
    (saying(b"HTTP/1.1 200"), False),
    (saying(b"HTTP/1.1 200 OK\r\nx: " + b"x" * (LONGEST_HEAD + 1)), False),
    (hang_up, False),
    (silence, False),
]


@pytest.mark.parametrize(("answer", "passed"), ANSWERS)
def test_any_2xx_in_time_passes_and_nothing_else(answer: Answer, passed: bool) -> None:
    async def bounded() -> None:
        async with ScriptedUpstream(answer) as server:
            assert await passes(server) is passed

    asyncio.run(bounded())


def test_a_server_that_refuses_does_not_pass() -> None:
    async def bounded() -> None:
        server = ScriptedUpstream(hang_up)
        await server.start()
        await server.stop()
        assert not await passes(server)

    asyncio.run(bounded())


def test_a_check_is_a_get_of_the_path_after_the_prefix_on_a_connection_of_its_own() -> None:
    async def bounded() -> None:
        async with ScriptedUpstream(saying(response(b""))) as server:
            assert await passes(server, "/models/rain")
            assert await passes(server)
        first, second = server.heard
        assert first.line == b"GET /models/rain/v2/health/ready HTTP/1.1"
        assert second.line == b"GET /v2/health/ready HTTP/1.1"
        assert first.fields["host"] == f"127.0.0.1:{server.port}"
        assert first.fields["connection"] == "close"
        assert server.connections == 2

    asyncio.run(bounded())


def test_only_changes_are_told() -> None:
    async def bounded() -> None:
        loop = asyncio.get_running_loop()
        tasks = Tasks(lambda name, error: None)
        told: list[bool] = []
        script: Iterator[str] = iter(["200 OK", "200 OK", *["503 No"] * 4, *["200 OK"] * 4])
        done = asyncio.Event()

        async def answer(heard: object, reader: object, writer: asyncio.StreamWriter) -> None:
            status = next(script, None)
            if status is None:
                done.set()
            writer.write(response(b"", status=status or "200 OK"))
            await writer.drain()

        async with ScriptedUpstream(answer) as server:
            upstream = Upstream("127.0.0.1", server.port)
            dialer = Dialer(upstream, loop, tasks, loop.time)
            tasks.spawn(HealthWatch(upstream, CHECK, dialer, lambda: 0.5, told.append).run(), "check")
            await asyncio.wait_for(done.wait(), 20)
            await eventually(lambda: len(told) == 3, "three changes")
            await tasks.cancel()
        assert told == [True, False, True]

    asyncio.run(bounded())
