"""W3C Trace Context: it goes through to whoever is asked, as the client sent it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.snapshot import Endpoint
from tests.support.gateway import endpoint, eventually, gateway, post, serving_candidate
from tests.support.upstream import ScriptedUpstream, response, saying

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONTEXT = {
    "traceparent": PARENT,
    "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
    "baggage": "userId=alice;p=1,region=%20nz",
}


@pytest.mark.parametrize("settled", [endpoint, serving_candidate], ids=["shadow", "canary"])
def test_the_arm_that_serves_and_the_mirror_get_the_client_s_context(
    tmp_path: Path, settled: Callable[..., Endpoint]
) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with gateway(tmp_path, settled(one.port, two.port)) as running:
                client = await running.connect()
                fields = "".join(f"\r\n{name.title()}: {value}" for name, value in CONTEXT.items())
                client.writer.write(post(b"[7]", fields=fields.encode()))
                await client.response()
                await eventually(lambda: running.control.pairs, "the pair arrives")
                client.close()
            for server in (one, two):
                (heard,) = server.heard
                assert {name: heard.fields[name] for name in CONTEXT} == CONTEXT
                assert heard.head.lower().count(b"\r\ntraceparent:") == 1

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_request_without_context_is_given_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(post(b"[7]"))
                await client.response()
                client.close()
            assert not CONTEXT.keys() & one.heard[0].fields.keys()

    asyncio.run(asyncio.wait_for(scenario(), 20))
