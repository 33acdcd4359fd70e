"""A candidate that floods is cut short, blamed and stopped."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import pytest

from domain.observation import Outcome
from tests.support.gateway import Running, endpoint, eventually, gateway, post
from tests.support.upstream import Heard, ScriptedUpstream, response, saying


def _handed_over(running: Running, count: int) -> bool:
    return len(running.control.pairs) == count


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_candidate_whose_answer_is_many_times_longer_is_blamed_and_stopped(
    framing: str, tmp_path: Path
) -> None:
    async def flood(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        if framing == "length":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 100_000)
            return
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one, ScriptedUpstream(flood) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port, breaker=3)) as running:
                client = await running.connect()
                for asked in range(1, 4):
                    client.writer.write(post())
                    assert (await client.response()).body == b"[0]"
                    cut = functools.partial(_handed_over, running, asked)
                    await eventually(cut, "the mirror is cut")
                assert {pair.candidate.outcome for pair in running.control.pairs} == {Outcome.FLOOD}
                await eventually(lambda: running.control.breakers, "the breaker opens")
                client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_an_answer_as_long_as_the_incumbents_is_no_flood(tmp_path: Path) -> None:
    async def scenario() -> None:
        long = saying(response(b"x" * 300_000))
        async with ScriptedUpstream(long) as one, ScriptedUpstream(long) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert len((await client.response()).body) == 300_000
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert running.control.pairs[0].candidate.body == b"x" * 300_000
                client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
