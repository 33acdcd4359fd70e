"""A real Unleash server: what a person does there reaches the workers, and what a trip does is seen there."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control.writeback import OFF, REFUSED
from examples.rain import platforms
from tests.support.control import FakeWorker, Here, document, here, pair, write
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
                before = worker.snapshot.generation
                await asked(server.switch, "polled", on=on)
                await worker.until(lambda: is_exposed(worker) is on)  # noqa: B023
                assert worker.snapshot.generation > before

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


def gradual(percent: int, flag: str) -> dict[str, Any]:
    parameters = {"rollout": str(percent), "stickiness": "default", "groupId": flag}
    return {"name": "flexibleRollout", "parameters": parameters, "constraints": []}


def test_a_release_that_is_driven_in_unleash_has_its_weight_written_to_the_flags_rollout(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("driven", gradual(100, "driven"))
    server.switch("driven", on=True)

    async def scenario() -> None:
        settings = {
            "url": server.url, "token_env": "UNLEASH_TOKEN", "environment": "development", "poll": "100ms",
            "admin_token_env": "UNLEASH_ADMIN",
        }  # fmt: skip
        plan = [{"mode": "shadow", "pairs": 50}, {"mode": "canary", "weight": "25%"}]
        guards = {"certify": False, "flips": {"rate": "1%"}}
        driven = document(tmp_path, flag="driven", drive="unleash", plan=plan, guards=guards)
        write(tmp_path, driven | {"flags": {"source": "unleash", "unleash": settings}})
        async with here(tmp_path) as control:
            listener = control.control.events.listen()
            worker = await FakeWorker().connect(control.link)
            told = await event(listener, "rollout")
            assert (told["outcome"], told["percent"]) == ("written", 0)
            assert await asked(server.rollout, "driven") == "0"
            await worker.send([pair(one) for one in range(60)], 1)
            told = await event(listener, "rollout")
            assert (told["outcome"], told["percent"]) == ("written", 25)
            assert await asked(server.rollout, "driven") == "25"
            await worker.until(lambda: _rollout(worker) == "25")
            assert worker.snapshot.endpoint("rain").weight == 10_000, "Unleash draws the units"
            await asked(server.ask, "PATCH", *_changed(server, "driven", 80))
            await worker.until(lambda: _rollout(worker) == "80")
            assert worker.snapshot.endpoint("rain").weight == 2_500, "no more than the plan allows"
            await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "drill"})
            assert worker.snapshot.endpoint("rain").tripped
            assert (await flag_off(listener))["outcome"] == OFF
            assert "feature-strategy-update" in await asked(server.events, "driven")
            shown = (await control.client.get("/api/v1/flags/status")).json()
            assert [one["percent"] for one in shown["rollouts"]] == [25]
            await worker.close()

    asyncio.run(scenario())


def test_a_flag_that_exposes_otherwise_is_not_driven_and_the_plans_own_weight_holds(
    server: Unleash, tmp_path: Path
) -> None:
    server.create("undriven", {"name": "default", "parameters": {}, "constraints": []})
    server.switch("undriven", on=True)

    async def scenario() -> None:
        settings = {
            "url": server.url, "token_env": "UNLEASH_TOKEN", "environment": "development", "poll": "100ms",
            "admin_token_env": "UNLEASH_ADMIN",
        }  # fmt: skip
        plan = [{"mode": "canary", "weight": "25%"}]
        driven = document(tmp_path, flag="undriven", drive="unleash", plan=plan)
        write(tmp_path, driven | {"flags": {"source": "unleash", "unleash": settings}})
        async with here(tmp_path) as control:
            listener = control.control.events.listen()
            worker = await FakeWorker().connect(control.link)
            rollouts = control.control.rollouts
            await control.until(lambda: "rain" in rollouts.last)
            attempt = rollouts.last["rain"]
            assert attempt.outcome == REFUSED
            assert "has these strategies: default" in attempt.reason
            assert worker.snapshot.endpoint("rain").weight == 2_500
            control.control.events.leave(listener)
            await worker.close()

    asyncio.run(scenario())


def test_the_example_s_flag_is_made_once_and_a_person_s_change_stays(server: Unleash) -> None:
    unleash = platforms.Service(server.url, {"authorization": ADMIN_TOKEN})
    assert platforms.make_flag(unleash, "example-canary")
    at = "/admin/projects/default/features/example-canary/environments/development"
    (strategy,) = server.ask("GET", f"{at}/strategies")
    assert strategy["parameters"]["rollout"] == str(platforms.PERCENT)
    server.ask("PATCH", *_changed(server, "example-canary", 5))
    assert not platforms.make_flag(unleash, "example-canary")
    (strategy,) = server.ask("GET", f"{at}/strategies")
    assert strategy["parameters"]["rollout"] == "5"
    wrong = platforms.Service(server.url, {"authorization": "*:*.wrong"})
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        platforms.make_flag(wrong, "example-canary")
    refused.value.close()


def _rollout(worker: FakeWorker) -> str:
    (feature,) = json.loads(worker.snapshot.flags)["features"]
    return str(feature["strategies"][0]["parameters"]["rollout"])


def _changed(server: Unleash, flag: str, percent: int) -> tuple[str, object]:
    """How a person changes a rollout: the path and the body of the request."""
    path = f"/admin/projects/default/features/{flag}/environments/development/strategies"
    (strategy,) = server.ask("GET", path)
    change = [{"op": "replace", "path": "/parameters/rollout", "value": str(percent)}]
    return f"{path}/{strategy['id']}", change


async def event(listener: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found = await listener.next(1.0)
            if found is not None and found.kind == kind:
                return dict(found.data)
