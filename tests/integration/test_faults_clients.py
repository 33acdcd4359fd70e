"""Clients that send too much, too slowly or nonsense, that leave, and clocks that jump: what others see."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import gateway as package
from domain.snapshot import UnitKind, UnitSource
from gateway.client import MAX_HELD
from gateway.head import MAX_HEAD
from tests.support.gateway import PATH, Client, endpoint, eventually, gateway, post
from tests.support.upstream import Heard, ScriptedUpstream, response, saying, silence

LINE = b"POST %b HTTP/1.1\r\nHost: m\r\n" % PATH.encode()
LEAVE = 400
"""Clients that leave in the middle."""


# ---- too much -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    [b"X-Flood: y\r\n" * 5000, b"y" * 65536, b"X-%d: y\r\n" * 7000, b"\r\n" * 32768],
    ids=["fields", "a line without an end", "names", "empty lines"],
)
def test_a_head_of_a_hundred_megabytes_holds_nothing_and_others_are_served(
    piece: bytes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client, other = await running.connect(), await running.connect()
                most = 0
                if piece.strip():
                    client.feed(LINE, size=1000)
                for number in range(100 * 2**20 // len(piece)):
                    client.feed(piece, size=len(piece))
                    most = max(most, len(client.server_side._held))
                    if number % 100 == 0:
                        other.writer.write(post())
                        assert (await other.response()).status == 200
                assert most <= max(MAX_HEAD, MAX_HELD) + len(piece)
                if piece.strip():
                    assert (await client.response()).status == 431
                    assert await client.reader.read() == b"", "and the connection is over"
                client.close()
                other.close()

    asyncio.run(scenario())


def test_a_head_that_trickles_ends_with_its_time_however_the_bytes_come(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                ahead = [0.0]
                running.worker.clock = lambda: time.monotonic() + ahead[0]
                client = await running.connect()
                for byte in LINE:
                    client.feed(bytes((byte,)), size=1)
                    ahead[0] += 0.15  # each byte comes in good time, all of them do not
                    await asyncio.sleep(0)
                ahead[0] += 5
                assert (await asyncio.wait_for(client.response(), 10)).status == 408
                assert await client.reader.read() == b""
                client.close()

    asyncio.run(scenario())


# ---- nonsense -------------------------------------------------------------------------------------------

DOCUMENTS = {
    "very deep": b"[" * 1_000_000 + b"]" * 1_000_000,
    "deep and open": b'{"user":' * 200_000,
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}",
    "not a number": b'{"user": NaN}',
    "infinite": b'{"user": 1e400}',
    "a number over 64 bits": b'{"user": 36893488147419103232}',
    "not UTF-8": b'{"user": "J\xfcrgen"}',
    "a lone surrogate": b'{"user": "\\ud800"}',
    "a byte order mark": b'\xef\xbb\xbf{"user": "u"}',
    "a key twice": b'{"user": "a", "user": "b"}',
    "a NUL in the unit": b'{"user": "a\\u0000b"}',
    "a list": b'["user"]',
    "nothing": b"",
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_body_that_holds_no_unit_is_served_as_it_is(document: str, tmp_path: Path) -> None:
    body = DOCUMENTS[document]

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            served = endpoint(one.port, unit=UnitSource(UnitKind.BODY, "/user"))
            async with gateway(tmp_path, served) as running:
                client = await running.connect()
                for _ in range(2):
                    client.writer.write(post(body))
                    assert (await client.response()).status == 200
                client.close()
            assert [heard.body for heard in one.heard] == [body] * 2

    asyncio.run(scenario())


def test_bytes_that_are_no_text_pass_in_units_ids_and_bodies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"\xff\xfe\x00"))) as one:
            async with gateway(tmp_path, endpoint(one.port, one.port)) as running:
                client = await running.connect()
                request = (
                    LINE + b"X-User-Id: \xff\xc3\r\nX-Request-Id: \xe9\r\nContent-Length: 2\r\n\r\n\xff\xfe"
                )
                client.writer.write(request)
                answer = await client.response()
                assert (answer.status, answer.body) == (200, b"\xff\xfe\x00")
                assert re.fullmatch("[0-9a-f-]+", answer.fields["x-request-id"])
                await eventually(lambda: running.control.pairs, "the pair is handed over")
                client.close()
            assert one.heard[0].fields["x-user-id"] == "\xff\xc3"
            assert one.heard[0].body == b"\xff\xfe"

    asyncio.run(scenario())


# ---- clients that leave ---------------------------------------------------------------------------------


def _reset(client: Client) -> None:
    own = client.writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


def test_hundreds_of_clients_that_leave_leave_no_descriptor_no_task_and_no_pair(tmp_path: Path) -> None:
    random = Random(22)

    async def streams(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"5\r\ntoken\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")

    async def scenario() -> None:
        async with ScriptedUpstream(streams) as one, ScriptedUpstream(streams) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port, breaker=0)) as running:
                worker = running.worker
                budget = worker.services.by_name["rain"].budget

                async def leave() -> None:
                    client = await running.connect()
                    client.writer.write(post(b"x" * 5000)[: random.randrange(20, 5100)])
                    await asyncio.sleep(random.random() / 40)
                    _reset(client) if random.randrange(2) else client.close()

                async def at_rest() -> tuple[int, int]:
                    await eventually(lambda: not worker.clients and not budget.pairs, "all is over")
                    worker._pools.close()
                    await asyncio.sleep(0.1)
                    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

                await leave()
                descriptors, tasks = await at_rest()
                for _ in range(LEAVE // 8):
                    async with asyncio.TaskGroup() as group:
                        for _ in range(8):
                            group.create_task(leave())
                assert budget.held >= 0
                now = await at_rest()
                assert now[0] <= descriptors
                assert now[1] <= tasks
                assert budget.held == 0

    asyncio.run(scenario())


# ---- clocks ---------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_ends_no_request_and_keeps_no_timeout_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(10**9))

    def jumping() -> float:
        return 1.7e9 + (3600.0 if next(jumps) % 2 else -3600.0)

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port, one.port, timeout=0.4)) as running:
                running.worker.wall = jumping
                client = await running.connect()
                for _ in range(50):
                    client.writer.write(post())
                    assert (await client.response()).status == 200
                await eventually(lambda: len(running.control.pairs) == 50, "every pair is handed over")
                latencies = [
                    side.latency for p in running.control.pairs for side in (p.incumbent, p.candidate)
                ]
                assert all(0 <= latency < 60 for latency in latencies)
                one.answer = silence
                client.writer.write(post())
                assert (await asyncio.wait_for(client.response(), 10)).status == 504
                client.close()

    monkeypatch.setattr(time, "time", jumping)
    asyncio.run(scenario())


def _wall_clocks(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow"):
                yield name


def test_no_timer_of_the_data_plane_reads_a_clock_that_can_jump() -> None:
    """The wall clock only dates what is written down: in logs, pairs and the flags' context."""
    folder = Path(package.__path__[0])
    found = {path.name for path in folder.glob("*.py") if any(_wall_clocks(ast.parse(path.read_text())))}
    assert found <= {"worker.py", "log.py", "access_log.py"}
