"""What the console asks for beyond single records: searches, schedules, the plan."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.control import PLAN, FakeWorker, here

SEARCH = "/api/v1/audit/search"


def test_the_chain_is_searched_page_by_page(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            for number in range(3):
                killed = await control.client.post(
                    "/api/v1/endpoints/rain/kill", json={"reason": f"<b>reason</b> {number}"}
                )
                assert killed.status_code == 200, killed.text
            first = (await control.client.get(SEARCH, params={"action": "switch.", "limit": 2})).json()
            assert [one["reason"] for one in first["events"]] == ["<b>reason</b> 2", "<b>reason</b> 1"]
            rest = (
                await control.client.get(
                    SEARCH, params={"action": "switch.", "limit": 2, "before": first["before"]}
                )
            ).json()
            assert [one["reason"] for one in rest["events"]] == ["<b>reason</b> 0"]
            assert rest["before"] is None, "nothing is left"
            later = (await control.client.get(SEARCH, params={"until": "2020-01-01T00:00:00Z"})).json()
            assert later["events"] == []
            refused = await control.client.get(SEARCH, params={"since": "yesterday"})
            assert (refused.status_code, "since" in refused.text) == (422, True)
            refused = await control.client.get(SEARCH, params={"limit": 100_000})
            assert refused.status_code == 422
            await worker.close()

    asyncio.run(scenario())


def test_an_endpoint_tells_its_plan_and_a_list_of_drills_when_the_next_one_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        drills = {"every": "0 3 * * 1", "environment": "staging"}
        async with here(tmp_path, drills=drills, watch="1h", approvals={"people": 2}) as control:
            release = (await control.endpoint())["release"]
            assert [one["mode"] for one in release["plan"]] == [one["mode"] for one in PLAN]
            assert release["plan"][1] == {
                "mode": "canary", "weight": 0.25, "pairs": 100, "at_least_seconds": 0.0,
            }  # fmt: skip
            assert (release["watch_seconds"], release["approvals"], release["gated"]) == (3600.0, 2, False)
            (planned,) = (await control.client.get("/api/v1/drills")).json()["schedule"]
            assert (planned["endpoint"], planned["here"], planned["next"]) == ("rain", False, None)
            none = (await control.client.get("/api/v1/drills?endpoint=snow")).json()["schedule"]
            assert none == []

    asyncio.run(scenario())
