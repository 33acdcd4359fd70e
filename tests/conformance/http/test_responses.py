"""Every case of `response_cases`, sent whole, byte by byte, and on a connection that has served before.

One gateway and one scripted model server take all of them; behind each case a further request shows that no
byte of the case's answer became the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.http.response_cases import CASES, CUT, GET_1_0, HEAD, POST, REFUSED, Case
from tests.support.gateway import Client, Received, Running, endpoint, eventually, gateway, post
from tests.support.grammars import GRAMMARS, use
from tests.support.upstream import Heard, ScriptedUpstream, response, saying

OWN = {"x-request-id", "x-pointsman-version", "x-pointsman-arm", "connection"}
"""Fields that the gateway itself sets."""
SLICED = 5000
"""An answer over so many bytes comes in larger pieces than single bytes."""
PATIENCE = 10.0
GOOD = saying(response(b"good"))


class CaseServer:
    """Answers as the case says, once, and well before and after it; knows which connection it was."""

    def __init__(self, case: Case, size: int) -> None:
        self._case = case
        self._size = size
        self.asked: list[asyncio.StreamWriter] = []
        self.said = False
        self.armed = False

    async def __call__(
        self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.asked.append(writer)
        if not self.armed:
            await GOOD(heard, reader, writer)
            return
        self.armed = False
        answer = self._case.answer
        for at in range(0, len(answer), self._size):
            writer.write(answer[at : at + self._size])
            await asyncio.sleep(0)
        if self._case.closes:
            writer.close()
        self.said = True


@dataclass
class Serving:
    """A gateway in a loop of its own, and the model server behind it."""

    runner: asyncio.Runner
    running: Running
    upstream: ScriptedUpstream


@pytest.fixture(scope="module", params=GRAMMARS)
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        use(patch, request.param)
        upstream = ScriptedUpstream(GOOD)
        runner.run(upstream.start())
        behind = gateway(tmp_path_factory.mktemp("gateway"), endpoint(upstream.port))
        running = runner.run(behind.__aenter__())
        try:
            yield Serving(runner, running, upstream)
        finally:
            runner.run(behind.__aexit__(None, None, None))
            runner.run(upstream.stop())


async def _next(client: Client, *, head_only: bool = False, old: bool = False) -> Received:
    answer = await asyncio.wait_for(client.response(head_only=head_only), PATIENCE)
    if old and "content-length" not in answer.fields:
        answer.body = await asyncio.wait_for(client.reader.read(), PATIENCE)
    return answer


def _joined(answer: Received) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in answer.head.decode("latin-1").strip().split("\r\n")[1:]:
        name, _, value = line.partition(":")
        key, value = name.lower(), value.strip(" \t")
        fields[key] = f"{fields[key]}|{value}" if key in fields else value
    return fields


async def _is_whole(client: Client, case: Case) -> None:
    interim = []
    old = case.request == GET_1_0
    while (answer := await _next(client, head_only=case.request == HEAD, old=old)).status < 200:
        interim.append(answer.status)
    assert tuple(interim) == case.interim
    assert answer.status == case.status
    if case.status == REFUSED:
        assert answer.fields["content-type"] == "application/problem+json"
        return
    assert answer.body == case.body
    fields = _joined(answer)
    assert {name: value for name, value in fields.items() if name not in OWN} == case.fields
    assert fields["x-pointsman-version"] == "rain-1"
    assert fields["x-pointsman-arm"] == "incumbent"
    assert "theirs" not in fields["x-request-id"]
    assert fields.get("connection") == ("close" if old else None)


async def _is_cut(client: Client) -> None:
    """The connection breaks; only a head that was not sent yet may still become a 502."""
    try:
        answer = await _next(client)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return  # ValueError: the line of a chunk size that never came
    assert answer.status == REFUSED


async def _exchange(serving: Serving, case: Case, feeding: str) -> None:
    size = 1 if feeding == "bytes" and len(case.answer) <= SLICED else max(len(case.answer), 1)
    server = CaseServer(case, size)
    serving.upstream.answer = server
    client = await serving.running.connect()
    try:
        if feeding == "behind":
            client.writer.write(post())
            assert (await _next(client)).body == b"good"
        server.armed = True
        client.writer.write(case.request)
        await (_is_cut(client) if case.status == CUT else _is_whole(client, case))
        await eventually(lambda: server.said, "the model server said all of it")
        await asyncio.sleep(0.005)  # for what it said last
    finally:
        client.close()
    client = await serving.running.connect()
    try:
        client.writer.write(POST)
        following = await _next(client)
        assert (following.status, following.body) == (200, b"good"), "no byte of it is the next answer"
    finally:
        client.close()
    assert (server.asked[-1] is server.asked[-2]) == case.reused


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("feeding", ["whole", "bytes", "behind"])
def test_each_answer_reaches_the_client_as_it_is_or_not_at_all(
    case: Case, feeding: str, serving: Serving
) -> None:
    serving.runner.run(_exchange(serving, case, feeding))


def test_each_case_is_another_one_and_says_where_it_is_written() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 100
    assert all(case.section.split()[0] in ("9110", "9112", "6585", "8297") for case in CASES)


def test_bytes_nobody_asked_for_poison_an_idle_connection(tmp_path: Path) -> None:
    async def late(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"mine"))
        await asyncio.sleep(0.05)
        writer.write(response(b"foreign"))

    async def scenario() -> None:
        async with ScriptedUpstream(late) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).body == b"mine"
                await asyncio.sleep(0.1)
                upstream.answer = saying(response(b"next"))
                client.writer.write(post())
                assert (await client.response()).body == b"next"
                client.close()
            assert upstream.connections == 2

    asyncio.run(scenario())
