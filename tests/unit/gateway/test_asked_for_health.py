"""What load balancers and kubelets ask a worker: `/-/alive` and `/-/ready`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.pressure import Pressure, Stage
from tests.support.gateway import Received, Running, endpoint, eventually, gateway, post
from tests.support.upstream import ScriptedUpstream, response, saying


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 50)

    asyncio.run(bounded())


def _asking(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: models\r\n\r\n".encode()


async def _ask(running: Running, path: str) -> Received:
    client = await running.connect()
    client.writer.write(_asking(path))
    answer = await client.response()
    client.close()
    return answer


@pytest.mark.parametrize(("path", "said"), [("/-/alive", b"alive\n"), ("/-/ready", b"ready\n")])
def test_a_worker_without_control_process_is_alive_and_ready(path: str, said: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, endpoint(1), control=False) as running:
            answer = await _ask(running, path)
            assert (answer.status, answer.body) == (200, said)
            assert answer.fields["cache-control"] == "no-store"

    _run(scenario)


def test_the_connection_goes_on_and_nothing_is_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                for method in ("GET", "HEAD"):
                    client.writer.write(_asking("/-/ready", method))
                    assert (await client.response(head_only=method == "HEAD")).status == 200
                client.writer.write(post())
                assert (await client.response()).status == 200
                client.writer.write(_asking("/-/nothing"))
                assert (await client.response()).status == 404
                client.close()

                def refusals() -> list[int]:
                    counts = [one for batch in running.control.batches for one in batch.requests]
                    return [one.status for one in counts if not one.endpoint]

                await eventually(refusals, "the path without an endpoint is counted")
                assert refusals() == [404]

    _run(scenario)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_only_who_asks_is_told(method: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, endpoint(1)) as running:
            client = await running.connect()
            client.writer.write(_asking("/-/ready", method))
            assert (await client.response()).status == 404
            client.close()

    _run(scenario)


def test_an_endpoint_s_own_path_is_the_endpoint_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"of the model"))) as one:
            async with gateway(tmp_path, endpoint(one.port, path="/-/ready")) as running:
                assert (await _ask(running, "/-/ready")).body == b"of the model"

    _run(scenario)


def test_who_drains_is_alive_and_not_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, endpoint(1)) as running:
            kept = await running.connect()
            other = await running.connect()
            running.worker.drain()
            kept.writer.write(_asking("/-/ready"))
            answer = await kept.response()
            assert (answer.status, answer.body, answer.fields["connection"]) == (503, b"draining\n", "close")
            other.writer.write(_asking("/-/alive"))
            assert (await other.response()).status == 200
            kept.close()
            other.close()

    _run(scenario)


class Dictated(Pressure):
    """A pressure that asks for requests to be shed."""

    def __init__(self) -> None:
        super().__init__(1)

    def look(self, resident: int) -> Stage:
        assert resident > 0
        return Stage.REQUESTS


def test_who_refuses_every_request_is_not_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, endpoint(1)) as running:
            running.worker._pressure = Dictated()
            await eventually(lambda: running.worker.sheds_requests, "requests are shed")
            answer = await _ask(running, "/-/ready")
            assert (answer.status, answer.body) == (503, b"short of memory\n")
            assert (await _ask(running, "/-/alive")).status == 200

    _run(scenario)
