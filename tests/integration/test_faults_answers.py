"""Model servers that break off, say too much, or say it wrong, many times over.

`tests/conformance/http/test_responses.py` has each such answer once; here they come in numbers, from servers
that close, reset or talk out of turn at random, to clients that count.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from tests.support.faults import refusing_port, reset
from tests.support.gateway import Client, Running, endpoint, eventually, gateway, post, serving_candidate
from tests.support.upstream import Answer, Heard, ScriptedUpstream, response, saying

ASKED = 1000
"""Requests to a server that cuts every answer."""
OWNED = 10_000
"""Requests to a server that says more than it was asked."""
CLIENTS = 8
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def _counts(running: Running) -> Counter[int]:
    """Requests by status, as the control process heard of them."""
    counts: Counter[int] = Counter()
    for batch in running.control.batches:
        for one in batch.requests:
            counts[one.status] += one.requests
    return counts


async def _counted(running: Running, **wanted: int) -> None:
    """Until exactly these are counted: `s502=3`."""
    counts = {int(key[1:]): number for key, number in wanted.items()}
    await eventually(lambda: _counts(running) == counts, f"{counts} is counted, not {_counts(running)}")


def _breaking(data: bytes, *, hard: bool) -> Answer:
    """Say `data`, then close, or reset if `hard`."""

    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if hard:
            await asyncio.sleep(0.01)  # a reset takes with it what is still on its way
            await reset(heard, reader, writer)
        else:
            writer.close()

    return answer


async def _outcome(client: Client) -> int:
    """The status of a whole answer; 0 when the connection broke before its end."""
    try:
        return (await asyncio.wait_for(client.response(), 10)).status
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return 0  # ValueError: the size line of a chunk that never came


@pytest.mark.parametrize("hard", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize(
    ("said", "wanted"),
    [(b"HTTP/1.1 2", 502), (HEAD[:30], 502), (HEAD + b"x" * 700, 0), (CHUNKED + b"5\r\nfi", 0)],
    ids=["mid status line", "mid head", "mid body", "mid chunk"],
)  # fmt: skip
def test_an_answer_that_breaks_is_a_502_or_visibly_cut_and_counted(
    said: bytes, wanted: int, hard: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(_breaking(said, hard=hard)) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert await _outcome(client) == wanted
                client.close()
                await _counted(running, s502=1)
            assert len(one.heard) == 1, "a POST is never sent twice once a byte of its answer came"

    asyncio.run(scenario())


@pytest.mark.parametrize("hard", [False, True], ids=["closes", "resets"])
def test_a_candidate_that_breaks_in_mid_head_costs_its_client_nothing(hard: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(_breaking(HEAD[:30], hard=hard)) as two,
        ):
            async with gateway(tmp_path, serving_candidate(one.port, two.port, breaker=0)) as running:
                client = await running.connect()
                for _ in range(5):
                    client.writer.write(post())
                    answer = await client.response()
                    assert (answer.status, answer.body) == (200, b"[0]")
                    assert answer.fields["x-pointsman-arm"] == "incumbent"
                client.close()
                # The client's answers by the incumbent, and the candidate's that never came.
                await _counted(running, s200=5, s0=5)

    asyncio.run(scenario())


async def _many(count: int, ask: Callable[[int], Awaitable[None]]) -> None:
    """`ask(n)` for each of `count`, by several clients at once."""
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            await ask(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())


def test_of_a_thousand_answers_cut_in_mid_body_none_looks_whole(tmp_path: Path) -> None:
    random = Random(6)
    whole = [
        HEAD + b"x" * 2000,
        CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n3e8\r\n" + b"y" * 1000 + b"\r\n0\r\n\r\n",
    ]
    begins = [len(HEAD), len(CHUNKED)]

    async def cut(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = random.randrange(2)
        end = random.randrange(begins[kind], len(whole[kind]))
        writer.write(whole[kind][:end])
        if random.randrange(2):
            await writer.drain()
            await reset(heard, reader, writer)
        writer.close()

    async def scenario() -> None:
        outcomes: Counter[int] = Counter()
        async with ScriptedUpstream(cut) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:

                async def ask(number: int) -> None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                    writer.write(post())
                    try:
                        head = await reader.readuntil(b"\r\n\r\n")
                        body = await reader.read()
                        status = int(head[9:12])
                        outcomes[
                            status if b"application/problem+json" in head else _looks_whole(head, body)
                        ] += 1
                    except (asyncio.IncompleteReadError, ConnectionError):
                        outcomes[0] += 1
                    writer.close()

                async with asyncio.timeout(60):
                    await _many(ASKED, ask)
                await _counted(running, s502=ASKED)
            assert len(one.heard) >= ASKED
        assert outcomes[200] == 0
        assert outcomes[0] + outcomes[502] == ASKED

    asyncio.run(scenario())


def _looks_whole(head: bytes, body: bytes) -> int:
    """200 when a client would take it for a whole answer, else 0."""
    if b"content-length: 2000" in head:
        return 200 if len(body) == 2000 else 0
    return 200 if body.endswith(b"0\r\n\r\n") else 0


def test_of_ten_thousand_answers_none_is_somebody_elses(tmp_path: Path) -> None:
    random = Random(10)
    foreign = response(b"somebody else's")

    async def talkative(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = random.randrange(40)
        if kind == 0:  # with the answer
            writer.write(response(heard.body) + foreign)
        elif kind == 1:  # behind it
            # At once: what comes when the connection is in use again is that request's answer to anybody.
            writer.write(response(heard.body))
            writer.write(foreign)
        elif kind == 2:  # a part of one
            writer.write(response(heard.body) + foreign[: random.randrange(1, len(foreign))])
        elif kind == 3:  # chunks, and more
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(heard.body), heard.body)
            writer.write(CHUNKED + body + foreign)
        else:
            writer.write(response(heard.body))
        await writer.drain()

    async def scenario() -> None:
        async with ScriptedUpstream(talkative) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                clients: asyncio.Queue[Client] = asyncio.Queue()
                for _ in range(CLIENTS):
                    clients.put_nowait(await running.connect())

                async def ask(number: int) -> None:
                    client = clients.get_nowait()
                    client.writer.write(post(b"%d" % number))
                    answer = await client.response()
                    assert (answer.status, answer.body) == (200, b"%d" % number)
                    clients.put_nowait(client)

                async with asyncio.timeout(60):
                    await _many(OWNED, ask)
                while not clients.empty():
                    clients.get_nowait().close()
                await _counted(running, s200=OWNED)
            assert one.connections > OWNED // 40, "each that said too much was given up"

    asyncio.run(scenario())


def test_an_endless_flood_of_interim_answers_is_a_502_in_bounded_work(tmp_path: Path) -> None:
    said = 0

    async def flood(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            said += 1

    async def scenario() -> None:
        async with ScriptedUpstream(flood) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                hints = 0
                while (answer := await asyncio.wait_for(client.response(), 10)).status == 103:
                    hints += 1
                assert answer.status == 502
                assert hints <= 100
                client.close()
                await _counted(running, s502=1)
                seen = said
                await asyncio.sleep(0.05)
                assert said <= seen + 1, "its connection is gone"

    asyncio.run(scenario())


@pytest.mark.parametrize("length", [3, 9])
def test_a_wrong_content_length_is_cut_or_gives_the_connection_up(length: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nrain" % length
        async with ScriptedUpstream(saying(said)) as one:
            async with gateway(tmp_path, endpoint(one.port, timeout=0.3)) as running:
                client = await running.connect()
                client.writer.write(post())
                if length < 4:
                    assert (await client.response()).body == b"rai"
                    one.answer = saying(response(b"next"))
                    client.writer.write(post())
                    assert (await client.response()).body == b"next"
                    assert one.connections == 2
                    await _counted(running, s200=2)
                else:
                    assert await _outcome(client) == 0, "cut at the timeout"
                    await _counted(running, s502=1)
                client.close()

    asyncio.run(scenario())


def test_a_server_that_only_trickles_is_cut_at_the_timeout(tmp_path: Path) -> None:
    async def trickle(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in HEAD + b"x" * 2000:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.02)

    async def scenario() -> None:
        async with ScriptedUpstream(trickle) as one:
            async with gateway(tmp_path, endpoint(one.port, timeout=0.4)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert await _outcome(client) == 504
                client.close()
                await _counted(running, s504=1)

    asyncio.run(scenario())


def test_a_half_closed_server_that_never_answers_is_a_502(tmp_path: Path) -> None:
    async def half(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await reader.read()

    async def scenario() -> None:
        async with ScriptedUpstream(half) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert await _outcome(client) == 502
                client.close()
                await _counted(running, s502=1)

    asyncio.run(scenario())


def test_a_dead_incumbent_is_a_502_with_its_reason_and_no_500(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, endpoint(refusing_port())) as running:
            client = await running.connect()
            for _ in range(3):
                client.writer.write(post())
                answer = await client.response()
                assert answer.status in (502, 503)
                assert b"rain-1" in answer.body
            client.close()

    asyncio.run(scenario())
