"""The whole gateway under load: each process killed, flags edited, a candidate gone bad, the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError
from gateway.supervisor import Supervisor
from settings.file import load
from tests.support.gateway import eventually, post
from tests.support.ports import free_port
from tests.support.processes import FLAG, Clients, Gateway
from tests.support.upstream import ScriptedUpstream, hang_up, response, saying, silence


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 120)

    asyncio.run(bounded())


async def _until(gateway: Gateway, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    for _ in range(1200):
        view = await gateway.view()
        if holds(view):
            return view
        await asyncio.sleep(0.05)
    raise AssertionError(f"never happened: {what}; last seen: {json.dumps(view)[:3000]}")


def test_a_candidate_that_goes_bad_is_taken_out_by_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port, workers=2) as gateway:
                async with Clients(gateway.port) as clients:
                    await _until(gateway, lambda v: v["release"]["mode"] == "canary", "the plan moves on")
                    await eventually(lambda: clients.arms.get("candidate", 0) > 50, "the candidate serves")
                    two.answer = saying(response(b"[9]"))
                    view = await _until(gateway, lambda v: v["switch"]["tripped"], "the switch trips")
                    served = clients.arms["candidate"]
                    await clients.more(200)
                assert not clients.failures
                assert clients.arms["candidate"] <= served + 16, "only what was under way"
                trip = (await gateway.view())["last_trip"]
                assert trip["cause"] == "guard:flips"
                assert trip["confirmed_at"] is not None
                assert view["candidate"]["version"] == "rain-2"
                pairs = (await gateway.admin.get("/api/v1/endpoints/rain/pairs?worst=3")).json()["pairs"]
                assert pairs[0]["flip"]

    _run(scenario)


def test_the_control_process_killed_under_load_costs_no_request_and_resumes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port) as gateway:
                async with Clients(gateway.port) as clients:
                    await _until(gateway, lambda v: v["release"]["mode"] == "canary", "the plan moves on")
                    await clients.more(100)
                    await asyncio.sleep(0.5)
                    before = (await gateway.view())["pairs"]["judged"]
                    gateway.kill_child("control")
                    await clients.more(200)
                    await gateway.ready()
                    assert (await gateway.view())["release"]["mode"] == "canary", "it goes on where it was"
                    await clients.more(50)
                assert not clients.failures
                answers = clients.answers
                view = await _until(
                    gateway, lambda v: v["pairs"]["judged"] >= answers, "every pair is judged"
                )
                assert view["pairs"]["judged"] == answers, "and none twice"
                assert before <= answers

    _run(scenario)


def test_a_killed_worker_comes_back_and_loses_only_what_it_had_in_flight(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port, workers=2) as gateway:
                async with Clients(gateway.port, count=8) as clients:
                    await clients.more(100)
                    killed = gateway.kill_child("gateway.process")
                    await clients.more(200)
                    await eventually(lambda: len(gateway.children("gateway.process")) == 2, "it comes back")
                    assert killed not in gateway.children("gateway.process")
                    await clients.more(200)
                    await gateway.ready()
                assert len(clients.failures) <= 8, "at most one a client"

    _run(scenario)


def test_a_restart_stays_tripped_and_a_rearm_starts_from_shadow(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            gateway = Gateway(tmp_path, one.port, two.port)
            async with gateway:
                told = await gateway.admin.post("/api/v1/endpoints/rain/kill", json={"reason": "a hunch"})
                assert told.json()["durable"] is True
                gateway.kill_supervisor()
            async with gateway:
                view = await gateway.view()
                assert view["switch"]["tripped"]
                assert view["switch"]["kills"][0]["reason"] == "a hunch"
                async with Clients(gateway.port) as clients:
                    await clients.more(50)
                    assert set(clients.arms) == {"incumbent"}
                assert not clients.failures
                # Without traffic the plan stays where it begins until it was looked at.
                told = await gateway.admin.post(
                    "/api/v1/endpoints/rain/rearm", json={"reason": "looked at it"}
                )
                assert told.status_code == 200
                assert (await gateway.view())["release"]["mode"] == "shadow"
                async with Clients(gateway.port) as clients:
                    await _until(gateway, lambda v: v["release"]["mode"] == "canary", "the plan begins anew")
                    await eventually(
                        lambda: clients.arms.get("candidate", 0) > 10, "the candidate serves again"
                    )
                assert not clients.failures

    _run(scenario)


def test_an_edited_flag_file_is_served_and_a_broken_one_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port) as gateway:
                async with Clients(gateway.port) as clients:
                    await eventually(
                        lambda: clients.arms.get("candidate", 0) > 10, "exposed units are served"
                    )
                    gateway.flags.write_text("{ half a fi")
                    count = clients.arms["candidate"]
                    await eventually(
                        lambda: clients.arms["candidate"] > count + 100, "the last good one stays"
                    )
                    off = {**FLAG, "enabled": False}
                    gateway.flags.write_text(json.dumps({"version": 1, "features": [off]}))
                    before = clients.arms.get("incumbent", 0)
                    await eventually(
                        lambda: clients.arms.get("incumbent", 0) > before + 20, "nobody is exposed now"
                    )
                    await asyncio.sleep(0.1)  # what had been decided before is answered
                    count = clients.arms["candidate"]
                    await clients.more(100)
                    assert clients.arms["candidate"] == count
                assert not clients.failures

    _run(scenario)


@pytest.mark.parametrize("failure", ["refuses", "hangs", "closes"])
def test_a_dead_candidate_trips_by_the_workers_own_breaker(failure: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port, timeout="600ms") as gateway:
                async with Clients(gateway.port) as clients:
                    await eventually(lambda: clients.arms.get("candidate", 0) > 10, "the candidate serves")
                    if failure == "refuses":
                        await two.stop()
                    else:
                        two.answer = silence if failure == "hangs" else hang_up
                    view = await _until(gateway, lambda v: v["switch"]["tripped"], "it trips")
                    await clients.more(100)
                assert not clients.failures
                actors = {kill["actor"] for kill in view["switch"]["kills"]}
                assert any(actor.startswith(("breaker:", "guard:errors")) for actor in actors)

    _run(scenario)


def test_sigterm_drains_without_a_failed_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port, workers=2) as gateway:
                clients = Clients(gateway.port)
                async with clients:
                    await clients.more(100)
                    clients._stopping = True  # each asks once more and then leaves
                    assert await gateway.stop() == 0
                assert not clients.failures
                gateway._process = None

    _run(scenario)


def test_the_supervisors_death_ends_everything(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            async with Gateway(tmp_path, one.port, free_port()) as gateway:
                pids = gateway.children("gateway.process") + gateway.children("control")
                assert len(pids) == 2
                gateway.kill_supervisor()
                await eventually(
                    lambda: not any(_alive(pid) for pid in pids), "workers and control process end"
                )
                gateway._process = None

    _run(scenario)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as one:
            gateway = Gateway(tmp_path, one.port, free_port())
            gateway.document["listen"] = f"127.0.0.1:{one.port}"
            gateway.write()
            with pytest.raises(ConfigError, match="cannot be listened on"):
                Supervisor(load(gateway.config), gateway.config, 1)

    _run(scenario)


def test_an_unreachable_model_server_at_the_start_is_a_502_until_it_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        late = ScriptedUpstream(saying(response(b"[1]")))
        late.port = free_port()
        async with Gateway(tmp_path, late.port, free_port()) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(post())
            assert b" 502 " in await reader.readline()
            writer.close()
            async with late:
                # The worker tries again at its own pace, at most a second apart, and says 502 meanwhile.
                statuses = [await _status(gateway.port)]
                while statuses[-1] == b"502" and len(statuses) < 200:
                    await asyncio.sleep(0.05)
                    statuses.append(await _status(gateway.port))
                assert set(statuses) <= {b"502", b"200"}
                async with Clients(gateway.port) as clients:
                    await clients.more(20)
                assert not clients.failures

    _run(scenario)


async def _status(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post())
    line = await reader.readline()
    writer.close()
    return line[9:12]


def test_signals_reach_the_control_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, two.port) as gateway:
                before = (await gateway.view())["config_digest"]
                gateway.document["endpoints"]["rain"]["timeout"] = "700ms"
                gateway.write()
                assert gateway._process is not None
                gateway._process.send_signal(signal.SIGHUP)
                await _until(
                    gateway, lambda v: v["config_digest"] != before, "the new configuration is served"
                )

    _run(scenario)


def test_an_edited_configuration_is_served_and_a_broken_one_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[2]"))) as two,
        ):
            async with Gateway(tmp_path, one.port, free_port()) as gateway:
                async with Clients(gateway.port) as clients:
                    before = (await gateway.view())["config_digest"]
                    gateway.config.write_text("endpoints: {rain: {timeout: soon}}")
                    await clients.more(300)
                    assert (await gateway.view())["config_digest"] == before
                    incumbent = {"version": "rain-9", "urls": [f"http://127.0.0.1:{two.port}"]}
                    gateway.document["endpoints"]["rain"]["incumbent"] = incumbent
                    gateway.write()
                    await eventually(lambda: two.heard, "the new incumbent is asked")
                    await _until(gateway, lambda v: v["incumbent"]["version"] == "rain-9", "and named")
                assert not clients.failures

    _run(scenario)
