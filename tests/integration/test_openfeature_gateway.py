"""The whole gateway behind a platform that is asked unit by unit."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.support.flag_platforms import Ofrep
from tests.support.gateway import PATH
from tests.support.processes import Gateway
from tests.support.upstream import ScriptedUpstream, response, saying

PATIENCE = 30.0


class Client:
    def __init__(self, gateway: Gateway) -> None:
        self._url = f"http://127.0.0.1:{gateway.port}{PATH}"
        self._client = httpx.AsyncClient(trust_env=False)

    async def arm(self, unit: str) -> str:
        answer = await self._client.post(self._url, content=b"[1]", headers={"x-user-id": unit})
        assert answer.status_code == 200
        return answer.headers["x-pointsman-arm"]

    async def until(self, unit: str, arm: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.arm(unit) != arm:  # noqa: ASYNC110 - asking is what changes it
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def running(folder: Path, served: Ofrep, age: str) -> AsyncIterator[tuple[Gateway, Client]]:
    async with (
        ScriptedUpstream(saying(response(b"[1]"))) as one,
        ScriptedUpstream(saying(response(b"[1]"))) as two,
    ):
        plan = [{"mode": "shadow", "pairs": 1}, {"mode": "canary", "weight": "100%"}]
        gateway = Gateway(folder, one.port, two.port, workers=2, plan=plan)
        platform = {"provider": "ofrep", "url": served.url, "age": age}
        gateway.document["flags"] = {"source": "openfeature", "openfeature": platform}
        async with gateway:
            client = Client(gateway)
            try:
                yield gateway, client
            finally:
                await client.close()


def test_units_are_served_as_the_platform_says_and_by_the_incumbent_when_it_says_nothing(
    tmp_path: Path,
) -> None:
    served = Ofrep()
    served.set({"canary": ["anna"]})

    async def scenario() -> None:
        async with running(tmp_path, served, age="2s") as (gateway, client):
            await client.until("anna", "candidate")
            assert {await client.arm("bo") for _ in range(20)} == {"incumbent"}
            served.set({"canary": ["bo"]})
            assert (await gateway.admin.post("/api/v1/flags/refresh")).status_code == 200
            await client.until("anna", "incumbent")
            await client.until("bo", "candidate")
            served.status = 500
            await client.until("bo", "incumbent")
            served.status = 200
            await client.until("bo", "candidate")

    try:
        asyncio.run(scenario())
    finally:
        served.close()


def test_a_gateway_without_its_control_process_goes_back_to_the_incumbent_after_the_age(
    tmp_path: Path,
) -> None:
    served = Ofrep()
    served.set({"canary": ["anna"]})

    async def scenario() -> None:
        async with running(tmp_path, served, age="2s") as (gateway, client):
            await client.until("anna", "candidate")
            (control,) = gateway.children("control")
            os.kill(control, signal.SIGSTOP)
            try:
                await client.until("anna", "incumbent")
                assert {await client.arm("anna") for _ in range(20)} == {"incumbent"}
            finally:
                os.kill(control, signal.SIGCONT)
            await client.until("anna", "candidate")

    try:
        asyncio.run(scenario())
    finally:
        served.close()
