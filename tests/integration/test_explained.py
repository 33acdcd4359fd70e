"""From a client's request to what an operator reads of a whole gateway: cohorts, noise, labels, servers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import PATH
from tests.support.processes import Gateway
from tests.support.upstream import Answer, Heard, ScriptedUpstream, response

REQUESTS = 400
WRONG = 87
"""The age above which the candidate answers the reverse: where the last eighth of them begins."""


def by_age(*, wrong_from: float) -> Answer:
    """Answers rain, and the reverse to a request whose age is above `wrong_from`."""

    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wrong = json.loads(heard.body)["age"] > wrong_from
        writer.write(response(b"[0.9, 0.1]" if wrong else b"[0.1, 0.9]"))
        await writer.drain()

    return answer


async def ask(client: httpx.AsyncClient, number: int) -> None:
    age = number * 37 % 100
    fields = {
        "x-user-id": f"u{number}", "x-country": "NZ" if age > WRONG else "AU", "x-request-id": f"r{number}",
    }  # fmt: skip
    answer = await client.post(PATH, json={"age": age}, headers=fields)
    assert answer.json() == [0.1, 0.9]


def certain(view: dict[str, Any]) -> set[str]:
    """The cohorts in which divergence certainly concentrates."""
    return {one["cohort"] for one in view["cohorts"] if one["certain"]}


def test_an_operator_reads_where_the_candidate_differs_and_labels_are_joined(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(by_age(wrong_from=1000)) as one,
            ScriptedUpstream(by_age(wrong_from=WRONG)) as two,
            Gateway(
                tmp_path, one.port, two.port,
                unit="header:x-user-id",
                compare={"kind": "classification", "labels": ["dry", "rain"]},
                cohorts=["header:x-country", "feature:age"],
                shadow={"noise_share": "100%"},
                guards={
                    "vote": {"per": "pair"}, "flips": {"rate": "60%"}, "accuracy": {"drop": "80%"},
                    "drift": {"shift": "30%", "learn": 100}, "latency": {"slo": "30s"},
                },
                plan=[{"mode": "shadow"}],
            ) as gateway,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client,
        ):  # fmt: skip
            for number in range(REQUESTS):
                await ask(client, number)
            async with asyncio.timeout(30):
                while (view := await gateway.view())["pairs"]["judged"] < REQUESTS:  # noqa: ASYNC110 - by HTTP
                    await asyncio.sleep(0.05)
            flips = next(guard for guard in view["guards"] if guard["guard"] == "noise_corrected_flips")
            assert flips["count"] == REQUESTS
            assert flips["bound_low"] < flips["estimate"] < flips["bound_high"]
            differing = {f"r{number}" for number in range(REQUESTS) if number * 37 % 100 > WRONG}
            assert len(flips["worst"]) == 3
            assert set(flips["worst"]) <= differing
            drift = next(guard for guard in view["guards"] if guard["guard"] == "drift")
            assert (drift["soft"], drift["count"] > 0, drift["cohort"]) == (True, True, "feature:age")
            assert drift["sentence"].endswith("; no reference file: learned from the first 100 requests")
            assert [one["feature"] for one in view["drift"]] == ["age"]
            slowest = (
                await gateway.admin.get("/api/v1/endpoints/rain/pairs?worst=2&guard=latency_slo")
            ).json()
            by = [one["candidate"]["latency_ms"] - one["incumbent"]["latency_ms"] for one in slowest["pairs"]]
            assert by == sorted(by, reverse=True)
            unknown = await gateway.admin.get("/api/v1/endpoints/rain/pairs?guard=drift")
            assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "guard")
            assert "header:x-country=NZ" in certain(view)
            number = REQUESTS
            async with asyncio.timeout(
                60
            ):  # of a batch that is judged late, features of few requests are read
                while not any(cohort.startswith("feature:age >") for cohort in certain(view)):
                    await ask(client, number)
                    number += 1
                    view = await gateway.view() if number % 20 == 0 else view
            (worst,) = (await gateway.admin.get("/api/v1/endpoints/rain/pairs?worst=1")).json()["pairs"]
            assert worst["cohorts"] == ["NZ"]
            assert worst["noise"] == {"score": 0.0, "flip": False}
            labels = [{"request_id": f"r{number}", "label": "rain"} for number in range(REQUESTS)]
            joined = (await gateway.admin.post("/api/v1/labels", json=labels)).json()
            assert joined == {
                "joined": REQUESTS, "repeated": 0, "unknown": [], "refused": [], "corrected": 0, "earlier": 0,
                "conflicts": [], "kept": True,
            }  # fmt: skip
            everybody, *cohorts = (await gateway.view())["accuracy"]
            assert everybody["incumbent"] == 1.0
            assert everybody["candidate"] < 1.0
            assert {"header:x-country=NZ", "header:x-country=AU"} <= {one["cohort"] for one in cohorts}
            metrics = (await gateway.admin.get("/metrics")).text
            assert 'pointsman_feature_drift{endpoint="rain",feature="age"}' in metrics
            assert (
                f'pointsman_server_out{{reason="resting",server="http://127.0.0.1:{two.port}"}} 0.0'
                in metrics
            )

    asyncio.run(asyncio.wait_for(scenario(), 120))
