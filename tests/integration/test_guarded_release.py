"""A plan with a guarded stage, from the configuration to what clients get."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.gateway import eventually
from tests.support.processes import Clients, Gateway
from tests.support.upstream import Answer, Heard, ScriptedUpstream, response, saying

PLAN = [
    {"mode": "shadow", "pairs": 20},
    {"mode": "guarded", "weight": "100%", "pairs": 100_000},
    {"mode": "canary", "weight": "10%"},
]


def now_and_then_wrong() -> Answer:
    """Each fifth answer differs: too seldom for a guard that allows a third."""
    count = 0

    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(response(b"[9]" if count % 5 == 0 else b"[1.01]"))
        await writer.drain()

    return answer


def test_a_guarded_stage_serves_the_candidate_but_none_of_its_deviations(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[1]"))) as one,
            ScriptedUpstream(saying(response(b"[1.01]"))) as two,
        ):
            guards = {"certify": False, "vote": {"per": "pair"}, "flips": {"rate": "33%"}}
            async with Gateway(tmp_path, one.port, two.port, plan=PLAN, guards=guards) as gateway:
                async with Clients(gateway.port) as clients:
                    await eventually(lambda: clients.arms.get("candidate", 0) > 20, "the plan moves on")
                    assert (await gateway.view())["release"]["mode"] == "guarded"
                    two.answer = now_and_then_wrong()
                    await clients.more(200)
                    served = dict(clients.arms)
                    await clients.more(100)
                assert not clients.failures
                assert clients.arms["incumbent"] > served["incumbent"], "where the candidate differed"
                assert clients.arms["candidate"] > served["candidate"], "where it agreed"
                for _ in range(600):
                    view = await gateway.view()
                    if view["pairs"]["judged"] >= clients.answers:
                        break
                    await asyncio.sleep(0.05)
                assert not view["switch"]["tripped"]
                pairs = (await gateway.admin.get("/api/v1/endpoints/rain/pairs?worst=5")).json()["pairs"]
                assert {(pair["flip"], pair["served"]) for pair in pairs} == {(True, "incumbent")}
                metrics = (await gateway.admin.get("/metrics")).text
                for event in ("guarded_agreed", "guarded_overruled"):
                    assert f'pointsman_gateway_events_total{{event="{event}"}}' in metrics

    asyncio.run(asyncio.wait_for(scenario(), 120))
