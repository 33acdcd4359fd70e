"""The prediction log of a whole gateway: records on disk, its process killed, its disk full, its absence."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from domain.routing import Arm
from monitoring.log.reading import LogReader
from monitoring.log.record import PredictionRecord
from tests.support.gateway import PATH
from tests.support.processes import Clients, Gateway
from tests.support.upstream import ScriptedUpstream, response, saying


def _run(scenario: Callable[[], Awaitable[None]], within: float = 100) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), within)

    asyncio.run(bounded())


async def _ask(gateway: Gateway, count: int, first: int = 0, status: int = 200) -> list[str]:
    """Ask so often; the request ids of the answers."""
    ids = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
        for number in range(first, first + count):
            answer = await client.post(
                PATH, json={"rain": number, "kind": "wet"}, headers={"x-user-id": f"user-{number}"}
            )
            assert answer.status_code == status, answer.text
            ids.append(answer.headers["x-request-id"])
    return ids


async def _found(reader: LogReader, ids: list[str]) -> list[PredictionRecord]:
    """Their records, once all are there."""
    for _ in range(400):
        found = [await asyncio.to_thread(reader.find, one) for one in ids]
        if None not in found:
            return [one for one in found if one is not None]
        await asyncio.sleep(0.05)
    missing = [one for one, record in zip(ids, found, strict=True) if record is None]
    raise AssertionError(f"{len(missing)} of {len(ids)} records never came, such as {missing[0]}")


def test_every_answer_has_a_record_with_both_arms_without_being_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1.5]"))) as one,
            ScriptedUpstream(saying(response(b"[1.51]"))) as two,
            Gateway(tmp_path, one.port, two.port, workers=2) as gateway,
        ):
            ids = await _ask(gateway, 12)  # fewer than it takes to move on
            records = await _found(LogReader(tmp_path / "predictions"), ids)
        for number, record in enumerate(records):
            assert (record.endpoint, record.status, record.predictions) == ("rain", 200, (1.5,))
            assert record.features == {"rain": float(number), "kind": "wet"}
            assert record.arm is Arm.INCUMBENT
            assert record.version == "rain-1"
            assert record.reason == "shadow stage"
            assert record.generation > 0
            assert record.mirrored is not None
            assert (record.mirrored.version, record.mirrored.predictions) == ("rain-2", (1.51,))
            assert len(record.configuration) == 64
            assert record.input == b""
            assert record.unit
        assert len({record.unit for record in records}) == 12

    _run(scenario)


def test_the_log_s_process_killed_under_load_loses_no_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port) as gateway:
                ids = []
                async with Clients(gateway.port) as clients:
                    for round_ in range(3):
                        ids += await _ask(gateway, 20, 20 * round_)
                        gateway.kill_child("control.recording")
                        ids += await _ask(gateway, 20, 1000 + 20 * round_)
                    await clients.more(50)
                assert not clients.failures
                await _found(LogReader(tmp_path / "predictions"), ids)

    _run(scenario)


def test_an_upgrade_under_load_hands_the_log_over_and_loses_no_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
            Gateway(tmp_path, one.port, two.port) as gateway,
        ):
            ids = await _ask(gateway, 20)
            before = gateway.children("control.recording")
            async with Clients(gateway.port, count=2, pause=0.05) as clients:
                gateway.signal(signal.SIGUSR2)
                for number in range(10_000):
                    ids += await _ask(gateway, 1, 100 + number)
                    now = gateway.children("control.recording")
                    if len(now) == 1 and now != before:
                        break
                    await asyncio.sleep(0.02)
                else:
                    raise AssertionError("no other process keeps the log")
                ids += await _ask(gateway, 20, 20_000)
            assert not clients.failures
            await _found(LogReader(tmp_path / "predictions"), ids)

    _run(scenario, 250)


def test_a_required_record_that_cannot_be_kept_is_a_request_refused(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.write_text("a file stands where the folder should be")

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
            Gateway(tmp_path, one.port, two.port, log={"records": "required"}) as gateway,
        ):
            ids = await _ask(gateway, 3)
            await asyncio.sleep(6)
            await _ask(gateway, 3, status=503)
            folder.unlink()
            await _found(LogReader(folder), ids)
            await asyncio.sleep(0.2)
            await _found(LogReader(folder), await _ask(gateway, 3))

    _run(scenario)


def test_an_endpoint_whose_log_is_off_has_no_process_and_no_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
            Gateway(tmp_path, one.port, two.port, log={"records": "off"}) as gateway,
        ):
            await _ask(gateway, 3)
            assert not gateway.children("control.recording")
            assert not (tmp_path / "predictions").exists()
            gateway.document["endpoints"]["rain"]["log"] = {"records": "on", "input": True}
            gateway.write()
            for _ in range(200):
                if gateway.children("control.recording"):
                    break
                await asyncio.sleep(0.05)
            asked: list[str] = []
            for _ in range(100):
                asked += await _ask(gateway, 1)
                await asyncio.sleep(0.1)
                records = map(LogReader(tmp_path / "predictions").find, asked)
                record = next((one for one in records if one is not None), None)
                if record is not None:
                    break
            assert record is not None
            assert json.loads(record.input)["kind"] == "wet"

    _run(scenario)
