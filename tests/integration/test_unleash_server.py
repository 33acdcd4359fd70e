"""A real Unleash server: what a person does there reaches the workers, and what a trip does is seen there."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control.writeback import OFF, REFUSED
from tests.support.control import FakeWorker, Here, document, here, write
from tests.support.gateway import eventually
from tests.support.processes import Clients, Gateway
from tests.support.unleash import ADMIN_TOKEN, BACKEND_TOKEN, MissingError, Unleash, unleash
from tests.support.upstream import ScriptedUpstream, response, saying

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unleash]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UNLEASH_TOKEN", BACKEND_TOKEN)
        environment.setenv("UNLEASH_ADMIN", ADMIN_TOKEN)
        environment.setenv("UNLEASH_WRONG", "default:development.wrong")
        try:
            with unleash(tmp_path_factory.mktemp("unleash")) as running:
                yield running
        except MissingError as error:
            pytest.skip(f"no Unleash server: {error}")


@asynccontextmanager
async def following(
    server: Unleash, folder: Path, flag: str, **where: Any
) -> AsyncIterator[tuple[Here, FakeWorker]]:
    settings = {"url": server.url, "token_env": "UNLEASH_TOKEN", "environment": "development", **where}
    flags = {"source": "unleash", "unleash": settings}
    write(folder, document(folder, flag=flag) | {"flags": flags})
    async with here(folder) as control:
        worker = await FakeWorker().connect(control.link)
        try:
            yield control, worker
        finally:
            await worker.close()


def is_exposed(worker: FakeWorker) -> bool:
    return any(one["enabled"] for one in json.loads(worker.snapshot.flags)["features"])


async def asked(call: Any, *arguments: Any, **more: Any) -> Any:
    return await asyncio.to_thread(call, *arguments, **more)


def test_a_toggle_at_the_server_reaches_the_worker_as_a_new_generation(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("polled")

    async def scenario() -> None:
        async with following(server, tmp_path, "polled") as (control, worker):
            assert (await control.client.get("/readyz")).json()["flags"] == "fresh"
            assert not is_exposed(worker)
            for on in (True, False):
                worker.snapshots[:-1] = []
                await asked(server.switch, "polled", on=on)
                await worker.until(lambda: len(worker.snapshots) == 2)
                assert is_exposed(worker) is on

    asyncio.run(scenario())


def test_a_refresh_brings_what_the_server_exposes_without_waiting_for_the_poll(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("hooked")

    async def scenario() -> None:
        async with following(server, tmp_path, "hooked", poll="1h") as (control, worker):
            await asked(server.switch, "hooked", on=True)
            async with asyncio.timeout(20):
                while not is_exposed(worker):
                    answer = await control.client.post("/api/v1/flags/refresh")
                    assert answer.status_code == 200
                    generation = answer.json()["generation"]
                    await worker.until(lambda: worker.snapshot.generation >= generation)  # noqa: B023

    asyncio.run(scenario())


def test_segments_and_constraints_come_as_unleash_writes_them(server: Unleash, tmp_path: Path) -> None:
    condition = {"contextName": "userId", "operator": "IN", "values": ["anna"]}
    segment = server.ask("POST", "/admin/segments", {"name": "staff", "constraints": [condition]})
    strategy = {
        "name": "flexibleRollout",
        "parameters": {"rollout": "100", "stickiness": "default", "groupId": "segmented"},
        "constraints": [{"contextName": "appName", "operator": "NOT_IN", "values": ["robot"]}],
        "segments": [segment["id"]],
    }
    server.create("segmented", strategy)
    server.switch("segmented", on=True)

    async def scenario() -> None:
        from routing.exposure import compile_flags

        async with following(server, tmp_path, "segmented", poll="100ms") as (_, worker):
            await worker.until(lambda: is_exposed(worker))
            exposure = compile_flags(worker.snapshot.flags, lambda: 0.5)["segmented"]
            assert [exposure(unit, None) for unit in ("anna", "bo", None)] == [True, False, False]

    asyncio.run(scenario())


def test_a_trip_is_seen_in_unleash_and_its_event_log_and_a_later_on_does_not_clear_it(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("tripped")
    server.switch("tripped", on=True)

    async def scenario() -> None:
        where = {"admin_token_env": "UNLEASH_ADMIN", "poll": "100ms"}
        async with following(server, tmp_path, "tripped", **where) as (control, worker):
            await worker.until(lambda: is_exposed(worker))
            listener = control.control.events.listen()
            killed = await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "drill"})
            assert killed.status_code == 200
            assert (await flag_off(listener))["outcome"] == OFF
            assert not await asked(server.is_on, "tripped")
            assert (await asked(server.events, "tripped"))[0] == "feature-environment-disabled"
            await worker.until(lambda: not is_exposed(worker))
            await asked(server.switch, "tripped", on=True)
            await worker.until(lambda: is_exposed(worker))
            assert worker.snapshot.endpoint("rain").tripped
            assert worker.snapshot.endpoint("rain").weight == 0

    asyncio.run(scenario())


def test_a_token_that_may_not_switch_flags_off_is_refused_and_the_trip_stands(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("forbidden")
    server.switch("forbidden", on=True)

    async def scenario() -> None:
        where = {"admin_token_env": "UNLEASH_TOKEN", "poll": "100ms"}
        async with following(server, tmp_path, "forbidden", **where) as (control, _):
            listener = control.control.events.listen()
            await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "drill"})
            told = await flag_off(listener)
            assert told["outcome"] == REFUSED
            assert told["reason"].startswith(("HTTP 401", "HTTP 403"))
            assert await asked(server.is_on, "forbidden")
            assert control.control.switchboard.tripped("rain")

    asyncio.run(scenario())


def test_a_wrong_token_is_told_as_such(server: Unleash, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with following(server, tmp_path, "any", token_env="UNLEASH_WRONG") as (control, worker):
            shown = (await control.client.get("/readyz")).json()["flags"]
            assert "does not know the token in UNLEASH_WRONG (HTTP 401)" in shown
            assert os.environ["UNLEASH_WRONG"] not in shown
            assert not is_exposed(worker)

    asyncio.run(scenario())


def test_the_whole_gateway_follows_a_toggle_and_a_bad_candidate_ends_as_a_flag_that_is_off(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("whole")

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            gateway = Gateway(tmp_path, one.port, two.port, workers=2, flag="whole")
            gateway.document["flags"] = {
                "source": "unleash",
                "unleash": {
                    "url": server.url,
                    "token_env": "UNLEASH_TOKEN",
                    "admin_token_env": "UNLEASH_ADMIN",
                    "environment": "development",
                },
            }
            async with gateway, Clients(gateway.port) as clients:
                await clients.more(200)
                assert "candidate" not in clients.arms, "the flag is off"
                await asked(server.switch, "whole", on=True)
                await eventually(lambda: clients.arms.get("candidate", 0) > 50, "the candidate serves")
                two.answer = saying(response(b"[9]"))
                async with asyncio.timeout(60):
                    while await asked(server.is_on, "whole"):  # noqa: ASYNC110 - Unleash tells nobody
                        await asyncio.sleep(0.1)
                assert (await gateway.view())["last_trip"]["cause"] == "guard:flips"
                assert not clients.failures

    asyncio.run(scenario())


async def flag_off(listener: Any) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            event = await listener.next(1.0)
            if event is not None and event.kind == "flag_off":
                return dict(event.data)
