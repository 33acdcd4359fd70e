"""Drills in a whole gateway: its workers, its control process, and clients that must not be hurt."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import PATH
from tests.support.processes import Gateway
from tests.support.redis_server import RedisServer
from tests.support.upstream import ScriptedUpstream, response, saying

GOOD = b"[0.1, 0.9]"
RAIN: dict[str, Any] = {
    "flag": None,
    "unit": "request",
    "timeout": "500ms",
    "compare": {"kind": "classification"},
    "guards": {"flips": {"rate": "1%"}, "vote": {"per": "pair"}, "breaker": {"consecutive_errors": 0}},
    "plan": [{"mode": "shadow", "pairs": 1_000_000}],
    "shadow": {"share": "100%"},
}
KEYS = {
    "tripped", "cause", "requests", "failed_requests", "pairs", "first_bad_at", "breach_at", "trip_at",
    "last_bad_served_at", "confirmed_at", "recovery_ms", "detection_pairs", "estimate", "tolerance",
    "evidence",
}  # fmt: skip


def requests(folder: Path) -> str:
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps({"age": age}) + "\n" for age in range(20)))
    return str(path)


async def finished(gateway: Gateway, begun: httpx.Response) -> dict[str, Any]:
    assert begun.status_code == 201, begun.text
    async with asyncio.timeout(45):
        while True:
            report: dict[str, Any] = (await gateway.admin.get(f"/api/v1/drills/{begun.json()['id']}")).json()
            if report["state"] in ("passed", "failed"):
                return report
            await asyncio.sleep(0.1)


@pytest.mark.timeout(150)
def test_a_served_drill_recovers_by_itself_and_the_trial_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(GOOD))) as one,
            ScriptedUpstream(saying(response(GOOD))) as two,
        ):
            drills = {"served": True, "weight": "100%", "requests": requests(tmp_path), "rps": 100}
            gateway = Gateway(tmp_path, one.port, two.port, workers=2, drills=drills, **RAIN)
            gateway.document["environment"] = "staging"
            async with (
                gateway,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client,
            ):
                for _ in range(40):
                    assert (await client.post(PATH, json={"age": 1})).content == GOOD
                async with asyncio.timeout(20):
                    while (before := await gateway.view())["pairs"]["judged"] < 40:  # noqa: ASYNC110 - by HTTP
                        await asyncio.sleep(0.05)
                begun = await gateway.admin.post("/api/v1/drills", json={"endpoint": "rain"})
                again = await gateway.admin.post("/api/v1/drills", json={"endpoint": "rain"})
                assert (again.status_code, "under way" in again.json()["detail"]) == (409, True)
                report = await finished(gateway, begun)
                assert report["state"] == "passed", report
                assert report.keys() >= KEYS
                assert (report["tripped"], report["cause"], report["failed_requests"]) == (
                    True,
                    "guard:flips",
                    0,
                )
                assert report["spoilt_served"] > 0
                assert (
                    report["first_bad_at"]
                    < report["breach_at"]
                    <= report["trip_at"]
                    <= report["confirmed_at"]
                )
                assert report["first_bad_at"] < report["last_bad_served_at"]
                assert 0 < report["recovery_ms"] <= report["limit_ms"]
                assert report["detection_pairs"] <= report["pairs"]
                assert report["estimate"] > report["tolerance"]
                view = await gateway.view()
                assert not view["switch"]["tripped"]
                assert view["release"]["weight"] == before["release"]["weight"]
                assert (view["pairs"]["judged"], view["pairs"]["flips"]) == (before["pairs"]["judged"], 0)
                assert (await client.post(PATH, json={"age": 1})).content == GOOD
                text = (await gateway.admin.get("/metrics")).text
                assert 'pointsman_drill_passed{endpoint="rain"} 1.0' in text
                assert 'pointsman_recovery_seconds_count{cause="drill",endpoint="rain"} 1.0' in text
                assert 'pointsman_trips_total{cause="drill",endpoint="rain"} 1.0' in text
                audit = (await gateway.admin.get("/api/v1/audit")).json()
                assert "drill.passed" in json.dumps(audit)

    asyncio.run(scenario())


@pytest.mark.timeout(150)
def test_in_a_fleet_the_leader_drills_and_every_replica_takes_the_candidate_out_and_back(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            RedisServer() as redis,
            ScriptedUpstream(saying(response(GOOD))) as one,
            ScriptedUpstream(saying(response(GOOD))) as two,
        ):
            drills = {"served": True, "weight": "100%", "requests": requests(tmp_path), "rps": 100}
            replicas = []
            for name in ("a", "b"):
                (tmp_path / name).mkdir()
                replica = Gateway(tmp_path / name, one.port, two.port, drills=drills, **RAIN)
                replica.document["environment"] = "staging"
                replica.document["state"] |= {"redis": redis.url, "replica": name}
                replicas.append(replica)
            async with replicas[0], replicas[1]:
                await _together(replicas)
                leader, other = replicas if await _leads(replicas[0]) else replicas[::-1]
                refused = await other.admin.post("/api/v1/drills", json={"endpoint": "rain"})
                assert (refused.status_code, "another replica leads" in refused.json()["detail"]) == (
                    409,
                    True,
                )
                begun = await leader.admin.post("/api/v1/drills", json={"endpoint": "rain"})
                report = await finished(leader, begun)
                assert report["state"] == "passed", report
                assert (report["cause"], report["failed_requests"], report["restored"]) == (
                    "guard:flips",
                    0,
                    False,
                )
                async with asyncio.timeout(20):
                    while any([(await each.view())["switch"]["tripped"] for each in replicas]):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                for each in replicas:
                    events = (await each.admin.get("/api/v1/audit?limit=1000")).json()["events"]
                    actions = [event["action"] for event in events]
                    assert actions.count("switch.tripped") == 1, actions
                    assert actions.count("switch.rearmed") == 1, actions

    asyncio.run(scenario())


async def _leads(gateway: Gateway) -> bool:
    return bool((await gateway.admin.get("/api/v1/replicas")).json()["leads"])


async def _together(replicas: list[Gateway]) -> None:
    """Every replica sees all, and one of them leads."""
    async with asyncio.timeout(30):
        while True:
            seen = [(await one.admin.get("/api/v1/replicas")).json() for one in replicas]
            if all(len(one["replicas"]) == len(replicas) for one in seen) and any(
                one["leads"] for one in seen
            ):
                return
            await asyncio.sleep(0.1)
